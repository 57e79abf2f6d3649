"""The errors of the service, each with a message the caller can act on.

    TranscriptionError                                                  kind: internal
      BadRequest        a parameter is invalid or contradicts another   kind: invalid
        BadAudio        the bytes are no recording that can be decoded  kind: invalid
      TooLarge          more bytes or seconds than are accepted         kind: too_large
      Unauthorized      no API key, or an unknown one                   kind: unauthorized
      NotFound          no such model or path                           kind: not_found
      Overloaded        no room in the queue; try again later           kind: overloaded
        QuotaUsedUp     the caller's audio of the day is used up        kind: quota
      Unavailable       no model replica is ready, or the disk is full  kind: unavailable
        Stopping        the service is being stopped                    kind: unavailable
      TimedOut          it took longer than a request may take          kind: timeout
      ModelFailed       the model failed on this audio                  kind: internal
        PoisonWindow    model replicas died of transcribing it, so      kind: internal
                        that it is not tried again
    StartError                                                          exit code 2
      ConfigError       a setting is unknown, ill-typed or impossible
      WeightsError      the model's files cannot be had, verified or read

Errors cross process borders (a replica raises, the ingress answers), so their
arguments are positional and they can be pickled. None of them knows HTTP:
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


class RetryLater(TranscriptionError):
    """What may go well after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])


class Overloaded(RetryLater):
    kind = "overloaded"


class QuotaUsedUp(Overloaded):
    kind = "quota"


class Unavailable(RetryLater):
    kind = "unavailable"


class Stopping(Unavailable):
    pass


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
