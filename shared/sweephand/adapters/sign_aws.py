"""AWS's signature, version 4, without boto3.

`POST /jobs` invokes a Lambda function before it answers, as a rule in a function that has just started. Importing
`botocore.auth` alone would add 45 ms to that on a whole processor, and boto3 with a client half a second.
Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html; a test compares the
result with botocore's.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"


def signed(url: str, headers: Mapping[str, str], body: bytes, region: str, at: datetime) -> dict[str, str]:
    """Return `headers` with those that sign a POST of `body` to `url`, an address of AWS Lambda.

    Takes the credentials from the environment. `at`: the moment of the signature, in UTC.
    """
    parts = urlsplit(url)
    moment = f"{at:%Y%m%dT%H%M%SZ}"
    scope = f"{moment[:8]}/{region}/lambda/aws4_request"
    token = os.environ.get("AWS_SESSION_TOKEN")
    sent = {**headers, "X-Amz-Date": moment, **({"X-Amz-Security-Token": token} if token else {})}
    signing = {name.lower(): value for name, value in {**sent, "Host": parts.netloc}.items()}
    names = ";".join(sorted(signing))
    request = "\n".join(
        [
            *("POST", quote(parts.path), parts.query),
            *(f"{name}:{signing[name]}" for name in sorted(signing)),
            *("", names, hashlib.sha256(body).hexdigest()),
        ]
    )
    text = "\n".join([ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{os.environ.get('AWS_SECRET_ACCESS_KEY', '')}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"{os.environ.get('AWS_ACCESS_KEY_ID', '')}/{scope}"
    return {
        **sent,
        "Authorization": f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}",
    }
