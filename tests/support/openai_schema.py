"""What OpenAI publishes of its audio API's answers (openapi 2.3.0), as JSON schemas: types, and what is required."""

from typing import Any

import jsonschema


def an_object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": required | (optional or {}), "required": [*required]}


def a_list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


STRING, NUMBER, INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer"}
STRING_OR_NULL = {"type": ["string", "null"]}
LOGPROBS = a_list(an_object({}, {"token": STRING, "logprob": NUMBER, "bytes": a_list(INTEGER)}))
BY_DURATION = an_object({"type": {"const": "duration"}, "seconds": NUMBER})
BY_TOKENS = an_object(
    {"type": {"const": "tokens"}, "input_tokens": INTEGER, "output_tokens": INTEGER, "total_tokens": INTEGER},
    {"input_token_details": an_object({}, {"audio_tokens": INTEGER, "text_tokens": INTEGER})},
)
USAGE = {"oneOf": [BY_DURATION, BY_TOKENS]}
WORD = an_object({"word": STRING, "start": NUMBER, "end": NUMBER})
SEGMENT = an_object(
    {
        "id": INTEGER,
        "seek": INTEGER,
        "start": NUMBER,
        "end": NUMBER,
        "text": STRING,
        "tokens": a_list(INTEGER),
        "temperature": NUMBER,
        "avg_logprob": NUMBER,
        "compression_ratio": NUMBER,
        "no_speech_prob": NUMBER,
    }
)
MODEL = an_object({"id": STRING, "created": INTEGER, "object": {"const": "model"}, "owned_by": STRING})

SCHEMAS = {
    "json": an_object({"text": STRING}, {"logprobs": LOGPROBS, "usage": USAGE}),
    "verbose_json": an_object(
        {"language": STRING, "duration": NUMBER, "text": STRING},
        {"words": a_list(WORD), "segments": a_list(SEGMENT), "usage": BY_DURATION},
    ),
    "delta": an_object({"type": {"const": "transcript.text.delta"}, "delta": STRING}, {"logprobs": LOGPROBS}),
    "done": an_object(
        {"type": {"const": "transcript.text.done"}, "text": STRING},
        {"logprobs": LOGPROBS, "usage": BY_TOKENS},
    ),
    "models": an_object({"object": {"const": "list"}, "data": a_list(MODEL)}),
    "model": MODEL,
    "error": an_object(
        {
            "error": an_object(
                {"type": STRING, "message": STRING, "param": STRING_OR_NULL, "code": STRING_OR_NULL}
            )
        }
    ),
}


def check(name: str, body: Any) -> None:
    """Raises jsonschema.ValidationError where `body` is not what OpenAI would send."""
    jsonschema.validate(body, SCHEMAS[name])
