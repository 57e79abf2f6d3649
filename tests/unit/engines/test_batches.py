from whisper_serve.engines.batches import by_length


def test_batches_hold_like_lengths_and_no_more_than_the_largest() -> None:
    assert by_length([2.0, 20.0, 2.5, 21.0, 3.0], lambda s: s, largest=2) == [[2.0, 2.5], [3.0], [20.0, 21.0]]


def test_whatever_is_short_is_of_like_length() -> None:
    assert by_length([0.1, 10.0, 10.1], lambda s: s, largest=4) == [[0.1, 10.0], [10.1]]
