"""Your handlers: one function for each type of job."""

from pydantic import BaseModel

from sweephand import Context, GiveUp, Retry, handler


class Greeting(BaseModel):
    """The payload of a `greet` job. It is checked when a job is created, and again before it runs."""

    name: str


@handler("greet", payload=Greeting, timeout=10)
async def greet(payload: Greeting, ctx: Context) -> dict[str, str]:
    """Greet somebody. What a handler returns is kept as the job's result."""
    if payload.name == "nobody":
        raise GiveUp("there is nobody to greet")  # the job fails now
    if payload.name == "sleeper" and ctx.attempt == 1:
        raise Retry(after=1)  # the job runs again in a second; any other exception waits longer each time
    ctx.log.info("greeting %s", payload.name)
    return {"said": f"Hello, {payload.name}!"}
