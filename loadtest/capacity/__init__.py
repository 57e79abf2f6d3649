"""What more replicas cost, measured on this machine and simulated for larger clusters."""
