"""Locust's own page, to look around: `locust -f loadtest/locustfile.py TranscribeUser`."""

from loadtest.load.users import AsrUser, OpenAIUser, SseUser, TranscribeUser

__all__ = ["AsrUser", "OpenAIUser", "SseUser", "TranscribeUser"]
