"""A call from its URL to its answer: look up, judge, connect, sign, send, read, follow; within one deadline."""

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import urljoin

from sweephand.domain.handler import GiveUp, Postpone
from sweephand.domain.services import HttpAnswer, HttpCall, NoAnswerError
from sweephand.handlers.http_call import headers as header_rules
from sweephand.handlers.http_call import signing
from sweephand.handlers.http_call.addresses import Address
from sweephand.handlers.http_call.allow import Allowed
from sweephand.handlers.http_call.connection import Connection, ConnectionLostError, Read, connect, reason_of
from sweephand.handlers.http_call.hosts import AT_ONCE, PATIENCE, STALLED_PAUSE, Failing, Hosts
from sweephand.handlers.http_call.lookup import Lookups, Resolver
from sweephand.handlers.http_call.pool import Pool
from sweephand.handlers.http_call.signing import SigningKeys
from sweephand.handlers.http_call.target import Target, parse
from sweephand.version import VERSION

MAX_ADDRESSES = 4
"""Addresses of a name that are tried, one after another."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WAITING = "waiting for its turn"
_KEEP_METHOD = frozenset({307, 308})
_READING = frozenset({"GET", "HEAD"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Rules:
    """What all calls of this process go by."""

    allowed: Allowed
    keys: SigningKeys
    resolve: Resolver
    tls: Callable[[], ssl.SSLContext]
    """Made at the first call by https: reading the authorities takes a while."""


class Client:
    """Calls URLs on one event loop. `close` it before the loop."""

    def __init__(self, rules: Rules, failing: dict[str, Failing]) -> None:
        self._rules = rules
        self._hosts = Hosts(failing)
        self._lookups = Lookups(rules.resolve)
        self._pool = Pool()

    def close(self) -> None:
        """Close every connection that is kept."""
        self._pool.close()

    async def call(self, call: HttpCall) -> HttpAnswer:
        """Make a call; see `HttpCaller.call`."""
        progress = _Progress(_WAITING, asyncio.get_running_loop().time() + call.timeout)
        try:
            async with asyncio.timeout_at(progress.deadline):
                return await self._follow(call, progress)
        except TimeoutError:
            if progress.step is _WAITING and not progress.sent:
                after = STALLED_PAUSE * (1 + random.random())  # noqa: S311 - it spreads load, and is no secret
                raise Postpone(after, f"not sent: its host is busy with {AT_ONCE} others") from None
            raise NoAnswerError(f"no whole answer within {call.timeout:g} s: {progress.step}") from None

    async def _follow(self, call: HttpCall, progress: "_Progress") -> HttpAnswer:
        target = _parsed(call)
        for followed in range(call.max_redirects + 1):
            read = await self._turn(target, call, progress)
            place = next((value for name, value in read.headers if name == "location"), None)
            if read.status not in REDIRECTS or place is None or followed == call.max_redirects:
                return _answer(read, target, place)
            onward = _onward(target, place)
            call = _redirected(call, read.status, same_origin=onward.origin == target.origin)
            target = onward
        raise AssertionError  # the last round returns

    async def _turn(self, target: Target, call: HttpCall, progress: "_Progress") -> Read:
        """Make one exchange when it is this host's turn, and note whether the host answers."""
        self._check_literal(target)
        progress.step = _WAITING
        name = target.origin
        began = await self._hosts.enter(name)
        failed: str | None = None
        answered = False
        try:
            read = await self._exchange(target, call, progress)
        except NoAnswerError as e:
            failed = str(e)
            raise
        except asyncio.CancelledError:
            # By the deadline: the host was too slow, unless it was given hardly any time.
            if time.monotonic() - began >= PATIENCE:
                failed = f"timed out {progress.step}"
            raise
        else:
            answered = True
            return read
        finally:
            if answered or failed is not None:
                self._hosts.leave(name, began, failed)
            else:
                self._hosts.give_back(name)

    def _check_literal(self, target: Target) -> None:
        if wrong := self._rules.allowed.literal_refusal(target):
            raise _refused(target, wrong)

    async def _exchange(self, target: Target, call: HttpCall, progress: "_Progress") -> Read:
        progress.step = "looking up its host"
        addresses = await self._judged(target)
        kept = self._pool.take(target, addresses)
        if kept is not None:
            try:
                return await self._send(kept, target, call, progress)
            except ConnectionLostError as e:
                if not e.unanswered:
                    raise NoAnswerError(str(e)) from e
            # The server had closed it while it was kept, as it may at any time: once more on a new one.
        progress.step = f"connecting to {target.authority}"
        made = await self._connect(target, addresses, progress.deadline)
        try:
            return await self._send(made, target, call, progress)
        except ConnectionLostError as e:
            raise NoAnswerError(str(e)) from e

    async def _judged(self, target: Target) -> list[Address]:
        """Return the addresses that a connection may go to; raises `GiveUp` when one of the lookup's may not."""
        if target.address is not None:
            return [target.address]
        try:
            found = await self._lookups.addresses(target.host)
        except OSError as e:
            raise NoAnswerError(str(e)) from None
        if not found:
            raise NoAnswerError(f"{target.host} has no address")
        if not self._rules.allowed.opens(target.host):
            for address in found:
                if wrong := self._rules.allowed.refusal(address):
                    raise _refused(target, f"{target.host} is {wrong}")
        return found[:MAX_ADDRESSES]

    async def _connect(self, target: Target, addresses: list[Address], deadline: float) -> Connection:
        """Connect to the first address that answers; each but the last gets a fair share of what time is left."""
        tls = self._rules.tls() if target.scheme == "https" else None
        loop = asyncio.get_running_loop()
        said = ""
        for at, address in enumerate(addresses):
            share = (deadline - loop.time()) / (len(addresses) - at)
            try:
                async with asyncio.timeout(share if at < len(addresses) - 1 else None):
                    return await connect(address, target.port, target.host, tls)
            except ssl.SSLCertVerificationError as e:
                raise NoAnswerError(f"the certificate of {target.host} is refused: {e.verify_message}") from None
            except ssl.SSLError as e:
                said = f"no TLS with {address}: {e.reason}"
            except TimeoutError:
                said = f"{address} does not answer"
            except OSError as e:
                said = f"{address} cannot be reached: {reason_of(e)}"
        raise NoAnswerError(said)

    async def _send(self, connection: Connection, target: Target, call: HttpCall, progress: "_Progress") -> Read:
        progress.step, progress.sent = f"waiting for the answer of {target.authority}", True
        try:
            headers = self._headers(target, call)
            read = await connection.exchange(call.method, target.path, headers, call.body, call.limit)
        except BaseException:
            connection.abort()
            raise
        self._pool.give(target, connection)
        return read

    def _headers(self, target: Target, call: HttpCall) -> Mapping[str, str]:
        """Return what is sent: ours, which no caller's header replaces, and the caller's."""
        given = {name.lower() for name in call.headers}
        made = {"Host": target.authority, "Accept-Encoding": "identity"}
        if "user-agent" not in given:
            made["User-Agent"] = f"sweephand/{VERSION}"
        if "accept" not in given:
            made["Accept"] = "*/*"
        if call.body or call.method in _WITH_BODY:
            made["Content-Length"] = str(len(call.body))
        signed = signing.headers(
            self._rules.keys.for_host(target.host), call.message_id, int(time.time()), call.body
        )
        return {**made, **call.headers, **signed}


@dataclass(slots=True)
class _Progress:
    """How far a call has come, for the message when its time is over."""

    step: str
    deadline: float
    """On the event loop's clock."""
    sent: bool = False
    """Whether any server may have got it."""


def _parsed(call: HttpCall) -> Target:
    try:
        target = parse(call.url)
    except ValueError as e:
        raise GiveUp(f"the URL is refused: {e}") from None
    try:
        for name, value in call.headers.items():
            header_rules.check_name(name)
            header_rules.check_value(value)
    except ValueError as e:
        raise GiveUp(f"a header is refused: {e}") from None
    return target


def _refused(target: Target, wrong: str) -> GiveUp:
    return GiveUp(f"the call of {target.origin} is refused: {wrong}; HTTP_ALLOW can open it")


def _answer(read: Read, target: Target, place: str | None) -> HttpAnswer:
    redirect = place if 300 <= read.status < 400 else None  # noqa: PLR2004 - 3xx
    if redirect is not None:
        with suppress(ValueError):
            redirect = urljoin(target.url, redirect)
    return HttpAnswer(read.status, _joined(read.headers), read.body, read.truncated, target.url, redirect)


def _onward(target: Target, place: str) -> Target:
    try:
        onward = parse(urljoin(target.url, place))
    except ValueError as e:
        raise GiveUp(f"{target.origin} redirects to a URL that is refused: {e}") from None
    if target.scheme == "https" and onward.scheme == "http":
        raise GiveUp(f"{target.origin} redirects from https to {onward.origin}, which has no TLS")
    return onward


def _redirected(call: HttpCall, status: int, *, same_origin: bool) -> HttpCall:
    """Return the call that follows a redirect, as browsers make it (Fetch standard, "HTTP-redirect fetch")."""
    given = dict(call.headers) if same_origin else header_rules.for_other_origin(call.headers)
    if status in _KEEP_METHOD or call.method in _READING:
        return replace(call, headers=given)
    about_body = ("content-type", "content-language", "content-encoding", "content-location")
    bare = {name: value for name, value in given.items() if name.lower() not in about_body}
    return replace(call, method="GET", headers=bare, body=b"")


def _joined(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
