"""What a transcription took: as headers for its caller, as fields of its line in the log."""

from fastapi import Request

from whisper_serve.types import Transcript


def measured(request: Request, transcript: Transcript) -> dict[str, str]:
    """Note the figures for the log; return them as headers."""
    took = transcript.timings
    figures = {
        "audio_seconds": f"{transcript.duration:.3f}",
        "decode_ms": f"{took.decode_s * 1000:.1f}",
        "queue_ms": f"{took.queue_s * 1000:.1f}",
        "inference_ms": f"{took.inference_s * 1000:.1f}",
    }
    request.state.log = {name: float(value) for name, value in figures.items()} | {
        "windows": transcript.windows
    }
    return {f"x-{name.replace('_', '-')}": value for name, value in figures.items()}
