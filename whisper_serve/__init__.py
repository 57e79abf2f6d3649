"""Whisper speech-to-text, served by Ray Serve."""

__version__ = "0.1.0"
