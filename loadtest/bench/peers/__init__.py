"""Peers of the service, one module each, loaded in a process of their own. To add one: a row in running.LOADS."""
