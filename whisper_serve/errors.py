"""Everything that can go wrong, in words the caller can act on.

    TranscriptionError                                           kind: internal
      BadRequest        the request makes no sense               kind: invalid
        BadAudio        the bytes are no recording we can read   kind: invalid
      TooLarge          more bytes or seconds than we take       kind: too_large
      Unauthorized      no key, or one that is not known         kind: unauthorized
      NotFound          no such model, or thing                  kind: not_found
      Overloaded        no room in the queue; try later          kind: overloaded
      Unavailable       no model replica is ready                kind: unavailable
      TimedOut          it took longer than the request may      kind: timeout
      ModelFailed       the model broke on this audio            kind: internal
        PoisonWindow          replicas died of it: not to be tried     kind: internal
    StartError                                                   exit code 2
      ConfigError       a field is unknown, ill-typed, or impossible
      WeightsError      no source gave the model's files, verified

Errors cross process borders (a replica raises, the ingress answers), so their
arguments are positional and they pickle as they are. None of them knows HTTP:
each transport has one table from `kind` to its own codes.
"""


class TranscriptionError(Exception):
    kind = "internal"


class BadRequest(TranscriptionError):
    kind = "invalid"


class BadAudio(BadRequest):
    pass


class TooLarge(TranscriptionError):
    kind = "too_large"


class Unauthorized(TranscriptionError):
    kind = "unauthorized"


class NotFound(TranscriptionError):
    kind = "not_found"


class Overloaded(TranscriptionError):
    kind = "overloaded"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])


class Unavailable(TranscriptionError):
    kind = "unavailable"


class TimedOut(TranscriptionError):
    kind = "timeout"


class ModelFailed(TranscriptionError):
    pass


class PoisonWindow(ModelFailed):
    pass


class StartError(Exception):
    """The service cannot start; the message is one sentence for its operator."""


class ConfigError(StartError):
    pass


class WeightsError(StartError):
    pass
