"""Mutations that no test can notice, since what they change has no effect that is promised, and why."""

import re

# Guards against mistakes of programmers, and what only saves memory or time.
NO_BEHAVIOUR = re.compile(r"\b(strict|frozen|slots|eq)=(True|False)|^@(lru_)?cache\b.*")

EQUIVALENT = {  # reason by module, line as it is, line as it becomes
    (
        "admission",
        "if buffered_s > self._buffered_s:",
        "if buffered_s >= self._buffered_s:",
    ): "to spend nothing takes nothing",
    (
        "temperature_fallback",
        "break",
        "continue",
    ): "the last result still needs no fallback",
    (
        "batch_runner",
        "prepare_s: float = 0.0",
        "prepare_s: float = 1.0",
    ): "`prepare` sets it",
    (
        "batch_runner",
        "if len(batch) == 1:",
        "if len(batch) <= 1:",
    ): "an empty batch has returned before",
}


def is_equivalent(module: str, before: str, after: str) -> bool:
    same = NO_BEHAVIOUR.sub("", before) == NO_BEHAVIOUR.sub("", after)
    return same or (module, before, after) in EQUIVALENT
