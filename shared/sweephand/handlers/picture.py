"""The pixels of `resize_image`: decode within limits, scale, encode. Imports Pillow."""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from sweephand.domain.handler import GiveUp
from sweephand.handlers.resize_image import MAX_PIXELS, MAX_SIDE, Fit, Format, ResizePayload

READABLE = ("JPEG", "PNG", "WEBP", "GIF")
DEFAULT_QUALITY = 85
MAX_PROFILE_BYTES = 1_000_000
"""A larger colour profile is dropped: it would outweigh the picture."""

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""What Pillow raises on damaged files, each decoder in its own way."""
_TURNED = frozenset({5, 6, 7, 8})
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


def resize(body: bytes, wanted: ResizePayload) -> Picture:
    """Scale the picture in `body` as `wanted` says.

    Raises `GiveUp` for what is no readable picture, is damaged, or is too large, before its pixels are
    decoded, or would become so.
    """
    image, profile, size = _decode(body, wanted)
    image = _fitted(image, size, wanted)
    if wanted.output_format is Format.JPEG:
        image = _on_white(image)
    elif wanted.output_format is Format.WEBP and image.mode == "L":
        image = image.convert("RGB")
    return Picture(_encode(image, _profile_for(image.mode, profile), wanted), *image.size)


def _decode(body: bytes, wanted: ResizePayload) -> tuple[Image.Image, bytes, tuple[int, int]]:
    """Return the first frame, upright, as L, RGB or RGBA; its colour profile or nothing; its size to be."""
    try:
        with warnings.catch_warnings():
            # Pillow's own limit is looser than ours and only warns; other warnings are about odd metadata.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(body), formats=READABLE) as image:
                _check_source(image.size)
                turned = image.getexif().get(_ORIENTATION) in _TURNED
                size = _scaled_size(_swap(image.size, turned), wanted)
                _check_result(size if wanted.fit is Fit.INSIDE else (wanted.width, wanted.height or size[1]))
                # A JPEG can be decoded at 1/2, 1/4 or 1/8; twice the size leaves the quality to the filter.
                image.draft(None, _swap((size[0] * 2, size[1] * 2), turned))
                profile = image.info.get("icc_profile") or b""
                image.load()
                return _plain(ImageOps.exif_transpose(image), profile), profile, size
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


def _swap(size: tuple[int, int], turned: bool) -> tuple[int, int]:  # noqa: FBT001 - a fact, not an option
    return (size[1], size[0]) if turned else size


def _plain(image: Image.Image, profile: bytes) -> Image.Image:
    """Reduce the many ways to store a pixel to grey, RGB and RGBA with 8 bits a channel."""
    if image.mode == "CMYK":
        return _cmyk_to_rgb(image, profile)
    if image.mode.startswith("I"):
        # 16 bits of grey: Pillow's own conversion would cut at 255, not divide.
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
        # No profile, or one that fits nothing: the plain formula is all there is.
        return image.convert("RGB")
    return converted or image.convert("RGB")


def _scaled_size(size: tuple[int, int], wanted: ResizePayload) -> tuple[int, int]:
    """Return the size that the whole picture is scaled to, before any cut or ground."""
    across = wanted.width / size[0]
    down = across if wanted.height is None else wanted.height / size[1]
    if wanted.fit is Fit.FILL:
        return wanted.width, wanted.height or max(1, round(size[1] * across))
    scale = max(across, down) if wanted.fit is Fit.COVER else min(across, down)
    if wanted.fit is Fit.INSIDE:
        scale = min(scale, 1.0)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _fitted(image: Image.Image, size: tuple[int, int], wanted: ResizePayload) -> Image.Image:
    box = (wanted.width, wanted.height or size[1])
    if wanted.fit is Fit.COVER:
        return ImageOps.fit(image, box, Image.Resampling.LANCZOS)
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
    if wanted.fit is not Fit.CONTAIN or image.size == box:
        return image
    ground = _WHITE if wanted.output_format is Format.JPEG else _CLEAR
    canvas = Image.new("RGBA", box, ground)
    canvas.paste(image, ((box[0] - image.width) // 2, (box[1] - image.height) // 2))
    return canvas


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    ground = Image.new("RGBA", image.size, _WHITE)
    return Image.alpha_composite(ground, image).convert("RGB")


def _profile_for(mode: str, profile: bytes) -> bytes:
    """Return `profile` if it describes pixels of `mode`: its header names the colour space (ICC.1, 7.2.8)."""
    space = {"L": b"GRAY", "RGB": b"RGB ", "RGBA": b"RGB "}[mode]
    return profile if profile[16:20] == space and len(profile) <= MAX_PROFILE_BYTES else b""


def _encode(image: Image.Image, profile: bytes, wanted: ResizePayload) -> bytes:
    # The encoders would otherwise carry over comments and the like.
    image.info = {}
    options: dict[str, object] = {"icc_profile": profile} if profile else {}
    if wanted.output_format is not Format.PNG:
        options["quality"] = wanted.quality or DEFAULT_QUALITY
    if wanted.output_format is not Format.WEBP:
        options["optimize"] = True
    out = io.BytesIO()
    image.save(out, wanted.output_format.value, **options)
    return out.getvalue()
