"""Which replacements apply to a request: its own, those of its API key, those that are configured."""

import asyncio
from collections.abc import Mapping

from whisper_serve.config.resolve import Resolved
from whisper_serve.errors import BadRequest
from whisper_serve.text.replacements import Phrases, checked
from whisper_serve.types import Replacement


class ReplacementTables:
    def __init__(self, config: Resolved) -> None:
        self._limits = config.text
        self._everybody = phrases(config.text.replacements)
        self._by_caller = {
            key.name: phrases({**config.text.replacements, **key.replacements})
            for key in config.security.keys
            if key.replacements
        }

    async def of(self, own: tuple[Replacement, ...], caller: str) -> tuple[Phrases, ...]:
        """The tables for a request, the first of which wins; none where nothing is to be replaced.

        Raises BadRequest where its own are too many, too long or cannot be applied.
        """
        # Making many ready takes up to 60 ms.
        ready = await asyncio.to_thread(self._made_ready, own) if own else None
        tables = (ready, self._by_caller.get(caller, self._everybody))
        return tuple(table for table in tables if table)

    def _made_ready(self, own: tuple[Replacement, ...]) -> Phrases:
        self._check_bounds(own)
        try:
            checked({entry.phrase: entry.written for entry in own})
        except ValueError as e:
            raise BadRequest(f"replacements: {e}") from e
        return Phrases(own)

    def _check_bounds(self, own: tuple[Replacement, ...]) -> None:
        most, longest = self._limits.max_replacements, self._limits.max_replacement_chars
        if len(own) > most:
            raise BadRequest(f"replacements: {len(own)} entries; a request may bring {most}")
        for entry in own:
            if max(len(entry.phrase), len(entry.written)) > longest:
                raise BadRequest(
                    f"replacements: an entry has more than {longest} characters, the limit: {entry.phrase[:40]!r}"
                )


def phrases(table: Mapping[str, str]) -> Phrases | None:
    """None where the table is empty."""
    return Phrases(Replacement(*entry) for entry in table.items()) if table else None
