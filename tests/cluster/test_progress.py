"""The wait that the other tests use, without hosts."""

import itertools

import pytest

from tests.cluster.progress import NoProgress, wait_while_progressing


def test_a_wait_goes_on_for_as_long_as_the_state_changes() -> None:
    states = itertools.count()
    polls = itertools.count()
    wait_while_progressing(lambda: next(polls) > 12, lambda: next(states), quiet_s=0.5, bound_s=30)


def test_a_wait_ends_where_nothing_changes_and_says_what_was_there() -> None:
    with pytest.raises(NoProgress, match=r"no progress for 0.2 s; last: setting-up"):
        wait_while_progressing(lambda: False, lambda: "setting-up", quiet_s=0.2)


def test_a_state_that_comes_and_goes_is_no_progress() -> None:
    states = itertools.cycle(["busy", "idle"])
    with pytest.raises(NoProgress, match=r"no progress for 0.4 s"):
        wait_while_progressing(lambda: False, lambda: next(states), quiet_s=0.4, bound_s=30)


def test_a_wait_has_an_end_even_where_the_state_changes_for_ever() -> None:
    states = itertools.count()
    with pytest.raises(NoProgress, match=r"not done after 1 s"):
        wait_while_progressing(lambda: False, lambda: next(states), quiet_s=0.5, bound_s=1)
