"""Load tests of a service, by locust: many users, every answer checked."""
