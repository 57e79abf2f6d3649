"""Mutations that no test can notice, since what they change has no effect that is promised, and why."""

import re

# Guards against mistakes of programmers, and what only saves memory or time.
NO_BEHAVIOUR = re.compile(r"\b(strict|frozen|slots|eq)=(True|False)|\bmaxsize=\s*\d+")

EQUIVALENT: dict[tuple[str, str, str], str] = {}  # reason by module, line as it is, line as it becomes


def is_equivalent(module: str, before: str, after: str) -> bool:
    same = NO_BEHAVIOUR.sub("", before) == NO_BEHAVIOUR.sub("", after)
    return same or (module, before, after) in EQUIVALENT
