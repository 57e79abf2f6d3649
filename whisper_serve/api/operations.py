"""For operators and tools: whether the service is alive, whether it is ready, what it can do, its metrics."""

from pathlib import Path
from tempfile import gettempdir
from typing import Literal, get_args

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from whisper_serve import __version__
from whisper_serve.api.deps import ServiceDep
from whisper_serve.api.dialect import Dialect, Stream
from whisper_serve.api.errors import failure_body
from whisper_serve.audio.containers import ANY, CONTAINERS
from whisper_serve.host.disk import has_room
from whisper_serve.telemetry.prometheus import CONTENT_TYPE
from whisper_serve.text.formats import FORMATS
from whisper_serve.text.languages import LANGUAGES
from whisper_serve.types import Task

router = APIRouter(tags=["operations"])
DIALECT = Dialect(router, failure_body, keyless=frozenset(("/", "/health", "/healthz", "/readyz")))


class Health(BaseModel):
    status: Literal["healthy", "unhealthy"]
    reason: str | None = None


class Alive(BaseModel):
    status: Literal["alive"] = "alive"


class Welcome(BaseModel):
    service: Literal["whisper_serve"] = "whisper_serve"
    version: str = Field(examples=["0.2.0"])
    documentation: str = Field(examples=["/docs"])
    transcribe: str = Field(
        description="where a recording is posted, as audio_file", examples=["/transcribe"]
    )


class Limits(BaseModel):
    max_upload_mb: float = Field(description="of a request's body, in megabytes (1e6 bytes)")
    max_audio_s: float = Field(description="of a recording, in seconds")
    max_channels: int = Field(description="of a recording whose channels are transcribed separately")


class Capabilities(BaseModel):
    models: list[str] = Field(
        description="ids by which the model can be requested; the first is its own", examples=[["base"]]
    )
    device: str = Field(description="cpu or cuda", examples=["cpu"])
    tasks: list[str] = Field(examples=[["transcribe", "translate"]])
    languages: dict[str, str] = Field(
        description="ISO 639-1 code to English name", examples=[{"en": "english"}]
    )
    audio_formats: list[str] = Field(
        description="recognised by content, not by name", examples=[[".flac", ".wav"]]
    )
    response_formats: list[str] = Field(description="of /v1/audio", examples=[["json", "srt"]])
    streaming: list[Stream]
    limits: Limits


@router.get("/", response_model=Welcome, responses={307: {"description": "for browsers: to /docs"}})
async def welcome(request: Request) -> Welcome | RedirectResponse:
    """Where to go from here."""
    prefix = request.scope.get("root_path", "")
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(f"{prefix}/docs")
    return Welcome(version=__version__, documentation=f"{prefix}/docs", transcribe=f"{prefix}/transcribe")


@router.get("/health", response_model_exclude_none=True, responses={503: {"model": Health}})
@router.get("/readyz", response_model_exclude_none=True, responses={503: {"model": Health}})
async def health(service: ServiceDep, response: Response) -> Health:
    """Whether the service can transcribe now; 503 with a reason until a model replica answers, while there is no room for
    an upload in the temporary folder, and while it stops.
    """
    if service.traffic.draining:
        reason = "the service is stopping"
    elif not has_room(Path(gettempdir()), service.config.server.max_upload_mb * 1e6):
        reason = "there is too little room for uploads in the temporary folder"
    elif await service.ready():
        return Health(status="healthy")
    else:
        reason = "no model replica answers yet"
    response.status_code = 503
    return Health(status="unhealthy", reason=reason)


@router.get("/healthz")
async def healthz() -> Alive:
    """Whether the process is alive."""
    return Alive()


@router.get("/capabilities")
async def capabilities(request: Request, service: ServiceDep) -> Capabilities:
    """The models, languages, formats and streams of this service, and its limits."""
    model, server = service.config.model, service.config.server
    any_format = sorted({name for container in CONTAINERS.values() for name in container.extensions})
    english_only = model.ids[0].endswith(".en")
    return Capabilities(
        models=list(model.ids),
        device=service.config.device,
        tasks=["transcribe"] if english_only else list(get_args(Task)),
        languages={"en": LANGUAGES["en"]} if english_only else LANGUAGES,
        audio_formats=any_format if ANY in model.supported_formats else list(model.supported_formats),
        response_formats=list(FORMATS),
        streaming=[stream for dialect in request.app.state.dialects for stream in dialect.streams],
        limits=Limits.model_validate(server, from_attributes=True),
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "content": {"text/plain": {"schema": {"type": "string"}}},
            "description": "Prometheus's text format",
        },
        404: {"description": "server.metrics is false"},
    },
)
async def metrics(service: ServiceDep) -> Response:
    """The metrics of the ingress and of every model replica, gathered from all nodes of the cluster.

    The values are some seconds old. A node that does not answer is left out,
    and its ray_whisper_serve_node_up is 0.
    """
    if service.metrics is None:
        raise HTTPException(404, "there are no metrics: server.metrics is false")
    return Response(await service.metrics(), media_type=CONTENT_TYPE)
