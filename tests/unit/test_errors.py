import pickle

import pytest

from whisper_serve import errors
from whisper_serve.api.errors import STATUS

ALL = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
SERVED = [e for e in ALL if issubclass(e, errors.TranscriptionError)]


@pytest.mark.parametrize("cls", ALL)
def test_an_error_can_be_pickled_with_its_message(cls: type[Exception]) -> None:
    back = pickle.loads(pickle.dumps(cls("why")))
    assert type(back) is cls
    assert str(back) == "why"


def test_a_pickled_overload_keeps_its_retry_after() -> None:
    assert pickle.loads(pickle.dumps(errors.Overloaded("full", 7))).retry_after_s == 7


@pytest.mark.parametrize("cls", SERVED)
def test_every_kind_has_an_http_status(cls: type[errors.TranscriptionError]) -> None:
    assert STATUS[cls.kind] >= 400
