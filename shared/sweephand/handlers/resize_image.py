"""Scale a picture from one object to another."""

from sweephand.domain.handler import Context
from sweephand.handlers.registry import handler
from sweephand.handlers.resize_payload import MAX_SOURCE_BYTES, ResizePayload


@handler("resize_image", payload=ResizePayload, timeout=20, isolation="process")
def resize_image(payload: ResizePayload, ctx: Context) -> dict[str, str | int]:
    """Write the scaled picture and return its URL, size and format."""
    from sweephand.handlers import picture  # noqa: PLC0415 - loads Pillow; the API checks payloads without it

    body = ctx.objects.read(payload.source, limit=MAX_SOURCE_BYTES)
    result = picture.resize(body, payload)
    ctx.objects.write(payload.target, result.body, content_type=f"image/{payload.output_format}")
    return {
        "target": payload.target,
        "width": result.width,
        "height": result.height,
        "bytes": len(result.body),
        "format": payload.output_format.value,
    }
