"""Errors a user can act on; each knows its exit code (README, Exit codes)."""


class PosestreamError(Exception):
    """Base of all errors with a one-line message: what, which input, what to do."""

    exit_code = 7


class UsageError(PosestreamError):
    """A wrong option, value or combination."""

    exit_code = 2


class InputError(PosestreamError):
    """The input is missing, unreadable or not what it says it is."""

    exit_code = 3


class OutputError(PosestreamError):
    """An output cannot be created or written. lost counts frames that had been taken before and are
    not in it either."""

    exit_code = 4

    def __init__(self, message: str, lost: int = 0) -> None:
        super().__init__(message)
        self.lost = lost


class ModelError(PosestreamError):
    """A model file, backend or device cannot be used."""

    exit_code = 5


class OutOfMemory(ModelError):
    """The memory of the device that runs a network is full; fewer pictures at once may fit."""


class SourceLost(PosestreamError):
    """A source stopped delivering and did not come back within its limit."""

    exit_code = 6


class StageError(PosestreamError):
    """A stage failed in its thread; ``__cause__`` is the stage's own exception. stage is its name,
    empty where not known."""

    exit_code = 7

    def __init__(self, message: str, stage: str = "") -> None:
        super().__init__(message)
        self.stage = stage
