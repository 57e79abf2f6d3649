"""Who said something, or on which channel, as the formats show it: nothing where neither is known."""

from typing import Any, Protocol


class Said(Protocol):
    @property
    def channel(self) -> int | None: ...
    @property
    def speaker(self) -> str | None: ...


def voice_of(said: Said) -> str:
    """ "SPEAKER_00", or "ch 1" where only the channel is known."""
    return said.speaker or ("" if said.channel is None else f"ch {said.channel}")


def label_of(said: Said) -> str:
    """What stands before it in text: "SPEAKER_00: " or "[ch 1] "."""
    voice = voice_of(said)
    return f"{voice}: " if said.speaker else f"[{voice}] " if voice else ""


def label_fields(said: Said) -> dict[str, Any]:
    """Its fields in JSON."""
    fields = {"channel": said.channel, "speaker": said.speaker}
    return {name: value for name, value in fields.items() if value is not None}
