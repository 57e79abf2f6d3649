"""Whisper speech-to-text, served by Ray Serve."""

import os

__version__ = "0.2.0"

# Read when Ray is imported: it would fold log lines of different requests, and colour them.
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_COLOR_PREFIX", "0")
