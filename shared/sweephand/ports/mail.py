"""Mail: what `email_notification` sends through; a handler's context names it, so the domain defines it."""

from sweephand.domain.services import Mailer

__all__ = ["Mailer"]
