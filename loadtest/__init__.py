"""Tools that measure the service: load, capacity, speed beside its peers, and the quality of its words."""
