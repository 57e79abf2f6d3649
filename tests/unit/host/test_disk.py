from pathlib import Path

import pytest

from whisper_serve.host.disk import has_room, is_enough


def test_an_empty_file_always_has_room(tmp_path: Path) -> None:
    assert has_room(tmp_path, 0)


@pytest.mark.parametrize(
    ("free", "total", "wanted", "enough"),
    [
        (500, 10_000, 512, False),
        (512, 10_000, 512, True),
        (60, 100, 512, True),  # a small filesystem, such as a container's: half of it is enough
        (49, 100, 512, False),
        (0, 0, 512, True),  # one without a bound
    ],
)
def test_room_for_one_upload_is_enough_and_so_is_half_of_a_small_filesystem(
    free: int, total: int, wanted: float, enough: bool
) -> None:
    assert is_enough(free, total, wanted) == enough
