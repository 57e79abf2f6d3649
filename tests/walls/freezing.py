"""main.py with one more endpoint, /freeze, which blocks the event loop of its ingress."""

import time

from fastapi import FastAPI

import main as command_line
from whisper_serve import app

FROZEN_S = 600


class FreezingIngress(app.Ingress):
    def __serve_build_asgi_app__(self) -> FastAPI:
        api = super().__serve_build_asgi_app__()
        api.add_api_route("/freeze", freeze)
        return api


async def freeze() -> None:
    time.sleep(FROZEN_S)  # noqa: ASYNC251


def main() -> None:
    app.Ingress = FreezingIngress  # type: ignore[misc]
    command_line.main()
