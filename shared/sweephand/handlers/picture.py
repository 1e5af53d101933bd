"""What `resize_image` does to pixels, with Pillow: decode within limits, scale, encode."""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from sweephand.domain.handler import GiveUp
from sweephand.handlers.resize_payload import MAX_PIXELS, MAX_SIDE, Fit, Format, ResizePayload

READABLE = ("JPEG", "PNG", "WEBP", "GIF")
DEFAULT_QUALITY = 85
MAX_PROFILE_BYTES = 1_000_000
"""A larger colour profile is dropped: it would be larger than most pictures."""

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""The errors that Pillow's decoders raise on damaged files."""
_SIDEWAYS = frozenset({5, 6, 7, 8})
"""The EXIF orientations that swap width and height."""
_ORIENTATION = 0x0112
_WHITE = (255, 255, 255, 255)
_CLEAR = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture and its size in pixels."""

    body: bytes
    width: int
    height: int


def resize(body: bytes, payload: ResizePayload) -> Picture:
    """Scale the picture in `body` as `payload` asks.

    Raises `GiveUp` if `body` is no picture that Pillow can read, or is damaged,
    or if the source or the result has too many pixels; sizes are checked before any pixel is decoded.
    """
    image, profile, size = _decode(body, payload)
    image = _fitted(image, size, payload)
    if payload.output_format is Format.JPEG:
        image = _on_white(image)
    elif payload.output_format is Format.WEBP and image.mode == "L":
        image = image.convert("RGB")
    return Picture(_encode(image, _profile_for(image.mode, profile), payload), *image.size)


def _decode(body: bytes, payload: ResizePayload) -> tuple[Image.Image, bytes, tuple[int, int]]:
    """Return the first frame upright, as L, RGB or RGBA; its colour profile, or b""; and the size to scale to."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of too many pixels; that must be an error here. Its other warnings concern odd metadata.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(body), formats=READABLE) as image:
                _check_source(image.size)
                sideways = image.getexif().get(_ORIENTATION) in _SIDEWAYS
                size = _scaled_size(_swap(image.size, sideways), payload)
                _check_result(size if payload.fit is Fit.INSIDE else (payload.width, payload.height or size[1]))
                # A JPEG decoder can scale to 1/2, 1/4 or 1/8. Twice the wanted size is left for the better filter.
                image.draft(None, _swap((size[0] * 2, size[1] * 2), sideways))
                profile = image.info.get("icc_profile") or b""
                image.load()
                return _simplified(ImageOps.exif_transpose(image), profile), profile, size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise GiveUp(f"the picture has more than {MAX_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise GiveUp("the source is no JPEG, PNG, WebP or GIF") from None
    except _BROKEN as problem:
        raise GiveUp(f"the picture is damaged: {str(problem)[:200]}") from None


def _check_source(size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise GiveUp(f"the picture has {size[0]} x {size[1]} pixels, more than {MAX_PIXELS}")


def _check_result(size: tuple[int, int]) -> None:
    if max(size) > MAX_SIDE or size[0] * size[1] > MAX_PIXELS:
        raise GiveUp(f"the result would have {size[0]} x {size[1]} pixels, more than is allowed")


def _swap(size: tuple[int, int], sideways: bool) -> tuple[int, int]:  # noqa: FBT001 - the picture's property, not an option
    return (size[1], size[0]) if sideways else size


def _simplified(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert any way of storing pixels to grey, RGB or RGBA, with 8 bits a channel."""
    if image.mode == "CMYK":
        return _cmyk_to_rgb(image, profile)
    if image.mode.startswith("I"):
        # 16 bits of grey: Pillow's conversion would cut values off at 255 instead of dividing them.
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode in ("L", "RGB", "RGBA"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _cmyk_to_rgb(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        # Without a usable profile only the plain formula is left.
        return image.convert("RGB")
    return converted or image.convert("RGB")


def _scaled_size(size: tuple[int, int], payload: ResizePayload) -> tuple[int, int]:
    """Return the size to scale the whole picture to, before edges are cut or a ground is added."""
    across = payload.width / size[0]
    down = across if payload.height is None else payload.height / size[1]
    if payload.fit is Fit.FILL:
        return payload.width, payload.height or max(1, round(size[1] * across))
    scale = max(across, down) if payload.fit is Fit.COVER else min(across, down)
    if payload.fit is Fit.INSIDE:
        scale = min(scale, 1.0)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _fitted(image: Image.Image, size: tuple[int, int], payload: ResizePayload) -> Image.Image:
    box = (payload.width, payload.height or size[1])
    if payload.fit is Fit.COVER:
        return ImageOps.fit(image, box, Image.Resampling.LANCZOS)
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
    if payload.fit is not Fit.CONTAIN or image.size == box:
        return image
    ground = _WHITE if payload.output_format is Format.JPEG else _CLEAR
    canvas = Image.new("RGBA", box, ground)
    canvas.paste(image, ((box[0] - image.width) // 2, (box[1] - image.height) // 2))
    return canvas


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    ground = Image.new("RGBA", image.size, _WHITE)
    return Image.alpha_composite(ground, image).convert("RGB")


def _profile_for(mode: str, profile: bytes) -> bytes:
    """Return `profile` if its header names the colour space of `mode` (ICC.1, 7.2.8), else b""."""
    space = {"L": b"GRAY", "RGB": b"RGB ", "RGBA": b"RGB "}[mode]
    return profile if profile[16:20] == space and len(profile) <= MAX_PROFILE_BYTES else b""


def _encode(image: Image.Image, profile: bytes, payload: ResizePayload) -> bytes:
    # Otherwise the encoders would copy comments and other metadata.
    image.info = {}
    options: dict[str, object] = {"icc_profile": profile} if profile else {}
    if payload.output_format is not Format.PNG:
        options["quality"] = payload.quality or DEFAULT_QUALITY
    if payload.output_format is not Format.WEBP:
        options["optimize"] = True
    out = io.BytesIO()
    image.save(out, payload.output_format.value, **options)
    return out.getvalue()
