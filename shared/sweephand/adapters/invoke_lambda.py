"""Invokes a Lambda function asynchronously, without boto3.

`POST /jobs` does this before it answers, as a rule in a function that has just started: importing boto3 and making
a client would keep its caller waiting for a second on the processor that 512 MB come with. The signature is AWS's
version 4 (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html); a test holds it
against botocore's.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import httpx

ALGORITHM = "AWS4-HMAC-SHA256"


def invoke(function: str, event: Mapping[str, bool], *, timeout: float, client: httpx.Client | None = None) -> None:
    """Have Lambda run `function` with `event`, once, and return when it has taken the request.

    With the credentials and the region of the environment, as Lambda sets them, and over `client`'s connection if
    there is one. Raises `httpx.HTTPError`.
    """
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")
    url = f"{_endpoint(region)}/2015-03-31/functions/{quote(function, safe='')}/invocations"
    body = json.dumps(event).encode()
    headers = signed(url, {"X-Amz-Invocation-Type": "Event"}, body, region, datetime.now(UTC))
    post = client.post if client else httpx.post
    post(url, content=body, headers=headers, timeout=timeout).raise_for_status()


def signed(url: str, headers: Mapping[str, str], body: bytes, region: str, at: datetime) -> dict[str, str]:
    """Return `headers` with those that make the POST of `body` to `url` one of this environment's identity."""
    parts = urlsplit(url)
    stamp = f"{at:%Y%m%dT%H%M%SZ}"
    scope = f"{stamp[:8]}/{region}/lambda/aws4_request"
    token = os.environ.get("AWS_SESSION_TOKEN")
    sent = {**headers, "X-Amz-Date": stamp, **({"X-Amz-Security-Token": token} if token else {})}
    signing = {name.lower(): value for name, value in {**sent, "Host": parts.netloc}.items()}
    names = ";".join(sorted(signing))
    request = "\n".join(
        [
            *("POST", quote(parts.path), parts.query),
            *(f"{name}:{signing[name]}" for name in sorted(signing)),
            *("", names, hashlib.sha256(body).hexdigest()),
        ]
    )
    text = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{os.environ.get('AWS_SECRET_ACCESS_KEY', '')}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    who = f"Credential={os.environ.get('AWS_ACCESS_KEY_ID', '')}/{scope}"
    return {**sent, "Authorization": f"{ALGORITHM} {who}, SignedHeaders={names}, Signature={signature}"}


def _endpoint(region: str) -> str:
    named = os.environ.get("AWS_ENDPOINT_URL_LAMBDA") or os.environ.get("AWS_ENDPOINT_URL")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return named.rstrip("/") if named else f"https://lambda.{region}.{suffix}"
