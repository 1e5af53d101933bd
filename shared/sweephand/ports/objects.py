"""Objects by URL: what `resize_image` and `generate_pdf` read and write; the domain defines it, as Mailer."""

from sweephand.domain.services import ObjectStore

__all__ = ["ObjectStore"]
