"""Whether there is room for files."""

import shutil
from pathlib import Path


def has_room(folder: Path, wanted: float) -> bool:
    """Whether a file of `wanted` bytes fits into the folder's filesystem, or has half of one that is small."""
    usage = shutil.disk_usage(folder)
    return is_enough(usage.free, usage.total, wanted)


def is_enough(free: int, total: int, wanted: float) -> bool:
    """free, total: bytes of a filesystem; both are 0 where it has no bound."""
    return free >= min(wanted, total / 2)
