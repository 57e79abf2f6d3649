"""Is what the service writes right? Recordings whose words are known in, a table of figures and bounds out."""
