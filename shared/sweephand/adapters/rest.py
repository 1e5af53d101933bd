"""Calls SQL functions through Supabase's REST interface, with the client that `supabase` itself uses.

Only that client, `postgrest`, is imported: the whole `supabase` package starts some 200 ms later, which each new
function instance would pay (CONTRIBUTING.md). A `supabase` client has the same `rpc` and may be handed in.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import httpx
from postgrest import APIError, SyncPostgrestClient

from sweephand.adapters.sqlstate import error_of
from sweephand.domain.errors import RecordSetupError, RecordUnavailableError, SweephandError

CONNECT_TIMEOUT = 5.0
"""Seconds to reach Supabase."""
ANSWER_TIMEOUT = 15.0
"""Seconds for an answer: Supabase ends a statement after 8."""


class RpcClient(Protocol):
    """A `postgrest` or `supabase` client, as far as it is used here."""

    def rpc(self, fn: str, params: dict[str, Any]) -> Any:
        """Return a request whose `execute()` makes the call."""
        ...


class SupabaseRpc:
    """An `Rpc` over a `postgrest` or `supabase` client; a connection that turns out to be dead is made anew once.

    Asking twice is safe because every function answers the same call the same way: ids and lease tokens are
    made by the caller.
    """

    def __init__(self, client: RpcClient, http: httpx.Client | None = None) -> None:
        self._client = client
        self._http = http

    def __call__(self, name: str, params: Mapping[str, Any]) -> Any:
        """Call `public.<name>`; raises what the `Record` port raises."""
        for last in (False, True):
            try:
                data = self._client.rpc(name, dict(params)).execute().data
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as e:
                # A frozen function wakes up with sockets that the other side closed long ago.
                if last:
                    raise RecordUnavailableError(f"The record cut the connection: {type(e).__name__}.") from e
            except httpx.InvalidURL as e:
                raise RecordSetupError(f"SUPABASE_URL is no URL: {e}.") from e
            except httpx.HTTPError as e:
                raise RecordUnavailableError(f"The record does not answer: {type(e).__name__}.") from e
            except APIError as e:
                raise _sorted(name, e) from e
            else:
                if isinstance(data, str) or data == []:  # a page of a proxy's between: ours answer objects and rows
                    raise RecordUnavailableError(f"{name}: the answer is not the record's.")
                return data
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            self._http.close()


def connect(url: str, key: str) -> SupabaseRpc:
    """Return an rpc that calls the Supabase project at `url` with `key`, a secret key or a service_role JWT.

    A secret key (`sb_secret_…`) is no JWT and goes as `apikey` alone; a legacy JWT goes as `Authorization` too.
    """
    headers = {"apikey": key}
    if not key.startswith("sb_"):
        headers["Authorization"] = f"Bearer {key}"
    base = f"{url.rstrip('/')}/rest/v1"
    # HTTP/1.1: the Python implementation of HTTP/2 costs more processor than its multiplexing saves.
    http = httpx.Client(
        base_url=base,
        headers=headers,
        timeout=httpx.Timeout(ANSWER_TIMEOUT, connect=CONNECT_TIMEOUT),
        limits=httpx.Limits(max_connections=16, keepalive_expiry=60),
        # Reading the authorities takes 30 ms of a start, in vain where there is no TLS.
        verify=base.startswith("https:"),
    )
    return SupabaseRpc(SyncPostgrestClient(base, headers=headers, http_client=http, retry_enabled=False), http)


def _sorted(name: str, error: APIError) -> SweephandError:
    code, message = str(error.code or ""), error.message or ""
    # Supabase's own gateway refuses a key without a code.
    if code in ("401", "403") or (not code and "API key" in message):
        return RecordSetupError(f"Supabase refused the key ({code}: {message}): check SUPABASE_KEY.")
    return error_of(name, code, message, check="SUPABASE_KEY")
