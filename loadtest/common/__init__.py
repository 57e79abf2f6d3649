"""What all verbs share. Knows nothing of any of them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the repository
RESULTS = ROOT / "loadtest/results"
