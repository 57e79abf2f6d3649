"""For those who run it: does the process live, has a replica its model."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from whisper_serve.api.deps import ServiceDep

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    status: Literal["healthy", "unhealthy"]
    reason: str | None = None


@router.get("/health", response_model_exclude_none=True, responses={503: {"model": Health}})
@router.get("/readyz", response_model_exclude_none=True, responses={503: {"model": Health}})
async def health(service: ServiceDep, response: Response) -> Health:
    """Whether a transcription would be answered now; 503 with a reason until a model replica answers."""
    if await service.ready():
        return Health(status="healthy")
    response.status_code = 503
    return Health(status="unhealthy", reason="no model replica answers yet")


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether the process lives."""
    return {"status": "alive"}
