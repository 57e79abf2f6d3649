import os
import stat
from pathlib import Path

import pytest

from whisper_serve.errors import StartError
from whisper_serve.host.private_folder import private_folder, socket_folder

NAME = f"whisper_serve-{os.geteuid()}"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_its_owner_s_alone_whatever_it_was_before(tmp_path: Path) -> None:
    assert mode(private_folder(tmp_path)) == 0o700
    (tmp_path / NAME).chmod(0o777)
    folder = private_folder(tmp_path)
    assert (folder, mode(folder)) == (tmp_path / NAME, 0o700)


def test_a_planted_link_is_refused_and_what_it_points_to_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    (tmp_path / NAME).symlink_to(theirs)
    with pytest.raises(StartError, match=r"is a link, planted by user .*; remove it, or set TMPDIR"):
        private_folder(tmp_path)
    assert mode(theirs) == 0o755


@pytest.mark.parametrize("dangling", [True, False])
def test_a_link_to_nowhere_and_a_file_in_its_place_are_refused(tmp_path: Path, dangling: bool) -> None:
    if dangling:
        (tmp_path / NAME).symlink_to(tmp_path / "nowhere")
    else:
        (tmp_path / NAME).touch()
    with pytest.raises(StartError, match="remove it"):
        private_folder(tmp_path)
    assert not (tmp_path / "nowhere").exists()


@as_root
def test_a_folder_of_another_user_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    os.chown(tmp_path / NAME, 65534, 65534)
    with pytest.raises(StartError, match=f"{NAME} belongs to user nobody"):
        private_folder(tmp_path)


def test_a_temporary_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=f"missing/{NAME} cannot be made: No such file or directory"):
        private_folder(tmp_path / "missing")


def test_folders_for_sockets_are_short_enough_also_where_tmpdir_is_long(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    near = socket_folder("s", 103 - len(f"{tmp_path}/{NAME}/s"), tmp_path)
    far = socket_folder("pytest", 64, long)
    far.rmdir()
    assert near == tmp_path / NAME / "s"
    assert far == Path("/tmp") / NAME / "pytest"
    assert mode(near) == mode(far.parent) == 0o700
