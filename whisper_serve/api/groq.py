"""Groq's API: OpenAI's below another prefix, with the request's id in its JSON, which @ai-sdk/groq requires."""

import json
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from whisper_serve.api.dialect import Dialect, Stream
from whisper_serve.api.form_limits import FormRoute
from whisper_serve.api.openai import routes as openai
from whisper_serve.api.openai.schemas import REFUSALS
from whisper_serve.text.formats import dumped

PREFIX = "/openai/v1"
TRANSCRIPTIONS = "/audio/transcriptions"

router = APIRouter(prefix=PREFIX, tags=["Groq"], route_class=FormRoute)
DIALECT = Dialect(router, openai.error_body, (Stream(kind="sse", path=PREFIX + TRANSCRIPTIONS),))
router.add_api_route("/models", openai.models)
router.add_api_route("/models/{id:path}", openai.model, responses={404: REFUSALS[404]})


@router.post(TRANSCRIPTIONS, response_class=Response, responses=REFUSALS | {200: openai.STREAMED})
async def transcriptions(
    request: Request, answer: Annotated[Response, Depends(openai.transcriptions)]
) -> Response:
    """Transcribe a recording: as /v1/audio/transcriptions does."""
    return with_id(request, answer)


@router.post("/audio/translations", response_class=Response, responses=REFUSALS | {200: openai.ANSWER})
async def translations(
    request: Request, answer: Annotated[Response, Depends(openai.translations)]
) -> Response:
    """Translate the speech of a recording into English."""
    return with_id(request, answer)


def with_id(request: Request, answer: Response) -> Response:
    """An answer in JSON with the request's id in it; others as they are."""
    if answer.media_type == "application/json":
        fields = json.loads(bytes(answer.body)) | {"x_groq": {"id": request.state.request_id}}
        answer.body = dumped(fields).encode()
        answer.headers["content-length"] = str(len(answer.body))
    return answer
