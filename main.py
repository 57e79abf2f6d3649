"""Serve Whisper: python main.py [--config config.json]"""

import argparse
import sys

from whisper_serve import __version__
from whisper_serve.config.load import load_config
from whisper_serve.errors import StartError
from whisper_serve.lifecycle import run


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Serve Whisper over HTTP, on this machine or the cluster RAY_ADDRESS names."
    )
    parser.add_argument(
        "--config", default="config.json", help="the JSON configuration (default: config.json)"
    )
    parser.add_argument(
        "--detach", action="store_true", help="on a cluster: deploy, then leave the service to it"
    )
    parser.add_argument("--version", action="version", version=f"whisper_serve {__version__}")
    args = parser.parse_args()
    try:
        return run(lambda: load_config(args.config), args.detach)
    except StartError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
