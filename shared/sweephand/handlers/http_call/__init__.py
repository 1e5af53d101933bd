"""Calls of URLs: what may be called, how a call is signed, sent and read; `http_request` and `ctx.http` use it.

The payload model needs `target`, `addresses`, `allow` and `headers`, which load neither h11 nor ssl nor asyncio.
"""
