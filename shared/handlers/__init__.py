"""What a handler's author imports: the decorator, the context, and the two ways to end early."""

from shared.domain.handler import Context, GiveUp, Retry
from shared.handlers.registry import handler

__all__ = ["Context", "GiveUp", "Retry", "handler"]
