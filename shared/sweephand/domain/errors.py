"""The one tree of errors; a class's docstring is its message, and `http/problem.py` gives its HTTP status."""

from dataclasses import dataclass


class SweephandError(Exception):
    """Something went wrong in Sweephand."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or (self.__doc__ or "").strip())


class RecordUnavailableError(SweephandError):
    """The record (PostgreSQL through Supabase) does not answer."""


class RecordStatementError(RecordUnavailableError):
    """The record answered that this statement failed: another one, on other rows, may not."""


class RecordSetupError(SweephandError):
    """The record answers, but not as this version needs: a wrong key, or migrations that are missing."""


class RecordRefusedError(SweephandError):
    """The record refused a value."""


class IndexUnavailableError(SweephandError):
    """The index (Redis) does not answer."""


class ConfigError(SweephandError):
    """A setting is missing or wrong."""


class RequestError(SweephandError):
    """The request cannot be carried out; every subclass has an HTTP status."""


class UnauthorizedError(RequestError):
    """The API key is missing or wrong: send `Authorization: Bearer <key>`."""


class JobNotFoundError(RequestError):
    """There is no job with this id."""


class ScheduleNotFoundError(RequestError):
    """There is no schedule of this name."""


class ScheduleChangedError(RequestError):
    """The schedule was changed by others at the same time: ask again."""


class RouteNotFoundError(RequestError):
    """There is nothing at this path."""


class MethodNotAllowedError(RequestError):
    """This path does not take this method."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(f"This path takes {', '.join(allowed)}.")
        self.allowed = allowed


class NotCancellableError(RequestError):
    """The job is past cancelling."""

    def __init__(self, status: str) -> None:
        super().__init__(f"The job is {status}: only a pending job can be cancelled.")
        self.status = status


class IdempotencyMismatchError(RequestError):
    """This Idempotency-Key was used for another request in the last 24 hours."""


class BodyTooLargeError(RequestError):
    """The body is too large."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit // 1024} KiB.")


class MediaTypeError(RequestError):
    """The body must be sent as `Content-Type: application/json`."""


class NotJsonError(RequestError):
    """The body is not JSON."""


class BodyCutError(RequestError):
    """The body was cut off, or its chunks or its length are not as HTTP has them."""


class TooSlowError(RequestError):
    """The request did not arrive in time."""


class MisdirectedError(RequestError):
    """Nothing here goes by the host that the request names."""


class CrossOriginError(RequestError):
    """Pages of other sites may not call this."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one value: where (a JSON pointer, RFC 6901, or a parameter's name), and why."""

    pointer: str
    detail: str


class InvalidError(RequestError):
    """A value was refused; `faults` says which and why."""

    def __init__(self, faults: list[FieldError]) -> None:
        super().__init__("; ".join(f"{f.pointer or '(body)'}: {f.detail}" for f in faults[:5]))
        self.faults = faults
