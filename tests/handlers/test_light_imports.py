import subprocess
import sys

HEAVY = ("PIL", "fpdf", "fontTools", "markdown_it", "obstore", "boto3", "botocore", "smtplib", "h11", "ssl")

SCRIPT = f"""
import sys
for name in {HEAVY!r}:
    sys.modules[name] = None  # an import of it raises ImportError
from sweephand.handlers.http_call.allow import Allowed
from sweephand.handlers.http_call.service import open_http
from sweephand.handlers.mail.mailer import open_mailer
from sweephand.handlers.objects.store import PrefixedObjectStore
from sweephand.handlers.registry import load
handlers = load([])
handlers["email_notification"].payload.model_validate(
    {{"to": "test@example.com", "subject": "Hello!", "message": "This is a test job."}}
)
handlers["resize_image"].payload.model_validate({{"source": "s3://bkt/a", "target": "s3://bkt/b.png", "width": 1}})
handlers["generate_pdf"].payload.model_validate({{"title": "a", "markdown": "b", "target": "gs://bkt/c"}})
handlers["http_request"].payload.model_validate({{"url": "https://example.com/", "body": "hello"}})
open_http(Allowed.of(["10.0.0.0/8"]), "", ["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"])
for handler in handlers.values():
    handler.payload.model_json_schema()
open_mailer("file:///tmp/outbox", "from@example.com")
PrefixedObjectStore("s3://bucket")
print(sorted(handlers))
"""


def test_payloads_are_checked_without_the_handlers_libraries() -> None:
    """Every payload model, the mailer and the object store can be imported without their handlers' libraries."""
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stderr == ""
    assert ran.stdout == "['email_notification', 'generate_pdf', 'http_request', 'resize_image']\n"
