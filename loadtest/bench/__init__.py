"""The service's speed beside its peers', on one machine, by turns. See README.md."""
