"""Scale a picture from one object to another."""

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sweephand.domain.handler import Context
from sweephand.handlers.objects.url import ObjectUrlText
from sweephand.handlers.registry import handler

MAX_SOURCE_BYTES = 50 * 1000 * 1000
MAX_SIDE = 10_000
MAX_PIXELS = 50_000_000
"""Of the source and of the result; about 200 MB each while in work."""


class Fit(StrEnum):
    """How a picture meets a box of another shape."""

    INSIDE = "inside"
    CONTAIN = "contain"
    COVER = "cover"
    FILL = "fill"


class Format(StrEnum):
    """What is written."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"


_BY_SUFFIX = {".jpg": Format.JPEG, ".jpeg": Format.JPEG, ".png": Format.PNG, ".webp": Format.WEBP}


class ResizePayload(BaseModel):
    """One picture to scale: a JPEG, PNG, WebP or GIF of at most 50 MB and 50 million pixels.

    Of an animation the first frame is taken. The picture is turned upright as its EXIF data ask, and
    everything the file says beside its pixels and colours (place, camera, comments) is left behind.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"source": "s3://bucket/in.jpg", "target": "s3://bucket/small.webp", "width": 640}]
        },
    )

    source: ObjectUrlText = Field(description="The picture to read.")
    target: ObjectUrlText = Field(description="Where the result goes; what is there is replaced.")
    width: int = Field(ge=1, le=MAX_SIDE, description="Width of the box, in pixels.")
    height: int | None = Field(
        None, ge=1, le=MAX_SIDE, description="Height of the box, in pixels; default: by the picture's shape."
    )
    fit: Fit = Field(
        Fit.INSIDE,
        description=(
            "inside: whole and never enlarged, so one side may be shorter than asked; "
            "contain: whole, on a white (in PNG and WebP transparent) ground of exactly the box; "
            "cover: fills the box, what hangs over is cut evenly; fill: stretched to the box."
        ),
    )
    format: Format | None = Field(None, description="Default: by the target's ending, .jpg .jpeg .png .webp.")
    quality: int | None = Field(None, ge=1, le=100, description="For jpeg and webp; default 85.")

    @model_validator(mode="after")
    def _writable(self) -> Self:
        if self.height is not None and self.width * self.height > MAX_PIXELS:
            raise ValueError(f"width times height is more than {MAX_PIXELS} pixels")
        if self.output_format is Format.PNG and self.quality is not None:
            raise ValueError("quality is for jpeg and webp: png keeps every pixel")
        return self

    @property
    def output_format(self) -> Format:
        """The format asked for, or the one that the target's ending names; raises `ValueError` if none."""
        chosen = self.format or _BY_SUFFIX.get(PurePosixPath(self.target).suffix.lower())
        if chosen is None:
            raise ValueError("format is needed: the target does not end in .jpg, .jpeg, .png or .webp")
        return chosen


@handler("resize_image", payload=ResizePayload, timeout=20, isolation="process")
def resize_image(payload: ResizePayload, ctx: Context) -> dict[str, str | int]:
    """Write the scaled picture and return its URL, size and format."""
    from sweephand.handlers import picture  # noqa: PLC0415 - loads Pillow, which the API goes without

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
