"""A distributed task scheduler made of cloud functions. What a handler's author imports stands here."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweephand.domain.handler import Context, GiveUp, Retry
    from sweephand.handlers.registry import handler

__all__ = ["Context", "GiveUp", "Retry", "handler"]


def __getattr__(name: str) -> object:
    """Return one of `__all__` (PEP 562), imported when it is asked for: most functions need none of them."""
    if name == "handler":
        from sweephand.handlers.registry import handler  # noqa: PLC0415

        return handler
    if name in __all__:
        from sweephand.domain import handler as module  # noqa: PLC0415

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
