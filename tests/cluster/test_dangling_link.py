"""A link that leads nowhere on the head ends Ray's autoscaler; `ray up` does not say so. Before the cluster is up."""

from pathlib import Path

import pytest

from tests.cluster.cluster import LINKS, MONITOR_ERRORS, UP, Cluster
from tests.cluster.progress import NoProgress


def test_a_link_that_dangles_on_the_head_is_listed_before_and_named_by_the_monitor(
    not_up: Cluster, tmp_path: Path
) -> None:
    link = not_up.repository / "notes"
    link.symlink_to(tmp_path)  # this folder is here, and on no host
    try:
        assert not_up.run(LINKS).split() == ["./notes"]
        not_up.run(UP)
        with pytest.raises(NoProgress, match=r"FileNotFoundError: .*whisper_serve/notes"):
            not_up.wait(lambda: not_up.active() == len(not_up.hosts))
        assert "FileNotFoundError" in not_up.run(MONITOR_ERRORS)
    finally:
        link.unlink()
        (not_up.head.disk / "home/user/whisper_serve/notes").unlink()
