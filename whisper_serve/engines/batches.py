"""Which lengths of audio may share an inference batch: the shorter of them pay for the longest."""

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")

MOST_TIMES = 2.0  # as long as the shortest of a batch the longest may be
SHORT_S = 5.0  # what is shorter counts as this long


def alike(shortest_s: float, longest_s: float) -> bool:
    """Whether what lasts from `shortest_s` to `longest_s` seconds may share a batch."""
    return longest_s <= MOST_TIMES * max(shortest_s, SHORT_S)


def by_length(items: Iterable[Item], seconds: Callable[[Item], float], largest: int) -> list[list[Item]]:
    """Items in as few batches as their lengths allow, none of more than `largest`."""
    batches: list[list[Item]] = []
    for item in sorted(items, key=seconds):
        if batches and len(batches[-1]) < largest and alike(seconds(batches[-1][0]), seconds(item)):
            batches[-1].append(item)
        else:
            batches.append([item])
    return batches
