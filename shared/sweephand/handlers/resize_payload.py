"""The payload of `resize_image`, and its limits."""

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sweephand.handlers.objects.url import ObjectUrlText

MAX_SOURCE_BYTES = 50 * 1000 * 1000
MAX_SIDE = 10_000
MAX_PIXELS = 50_000_000
"""Of the source and of the result. Decoded, so many pixels take about 200 MB."""


class Fit(StrEnum):
    """How a picture goes into a box of another shape; the payload's `fit` describes each way."""

    INSIDE = "inside"
    CONTAIN = "contain"
    COVER = "cover"
    FILL = "fill"


class Format(StrEnum):
    """The file formats that `resize_image` writes."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"


_BY_SUFFIX = {".jpg": Format.JPEG, ".jpeg": Format.JPEG, ".png": Format.PNG, ".webp": Format.WEBP}


class ResizePayload(BaseModel):
    """One picture to scale: a JPEG, PNG, WebP or GIF of at most 50 MB and 50 million pixels.

    Of an animation only the first frame is used. The result is turned upright, as the source's EXIF data say.
    It keeps the source's pixels and colour profile, and nothing else: no place, camera or comment.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"source": "s3://bucket/in.jpg", "target": "s3://bucket/small.webp", "width": 640}]
        },
    )

    source: ObjectUrlText = Field(description="The picture to read.")
    target: ObjectUrlText = Field(description="Where to write the result. It replaces an object that is there.")
    width: int = Field(ge=1, le=MAX_SIDE, description="Width of the box, in pixels.")
    height: int | None = Field(
        None,
        ge=1,
        le=MAX_SIDE,
        description="Height of the box, in pixels. Default: it follows from the width and the picture's shape.",
    )
    fit: Fit = Field(
        Fit.INSIDE,
        description=(
            "inside: the whole picture, never enlarged, so a side may be shorter than the box; "
            "contain: the whole picture, on a ground that fills the box (white in JPEG, else transparent); "
            "cover: the picture fills the box, and opposite edges are cut equally; "
            "fill: the picture is stretched to the box."
        ),
    )
    format: Format | None = Field(None, description="Default: by the target's ending, .jpg .jpeg .png .webp.")
    quality: int | None = Field(None, ge=1, le=100, description="For jpeg and webp. Default: 85.")

    @model_validator(mode="after")
    def _check_result(self) -> Self:
        if self.height is not None and self.width * self.height > MAX_PIXELS:
            raise ValueError(f"width times height is more than {MAX_PIXELS} pixels")
        if self.output_format is Format.PNG and self.quality is not None:
            raise ValueError("quality is for jpeg and webp: png keeps every pixel")
        return self

    @property
    def output_format(self) -> Format:
        """`format`, or else the format that the target's ending means. Raises `ValueError` if both are missing."""
        chosen = self.format or _BY_SUFFIX.get(PurePosixPath(self.target).suffix.lower())
        if chosen is None:
            raise ValueError("format is needed: the target does not end in .jpg, .jpeg, .png or .webp")
        return chosen
