"""The quality of the service's words and times, on recordings whose words are known."""
