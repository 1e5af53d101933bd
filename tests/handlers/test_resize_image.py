import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms
from pydantic import ValidationError

from sweephand.domain.handler import GiveUp
from sweephand.handlers.resize_image import resize_image
from sweephand.handlers.resize_payload import ResizePayload
from tests.handlers.conftest import context

RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 255)
ORIENTATION, MAKE, GPS = 0x0112, 0x010F, 0x8825
Pixel = tuple[int, ...]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return `image` as a file of `kind`."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def halves(mode: str = "RGB", size: tuple[int, int] = (200, 100)) -> Image.Image:
    """Return a picture whose left half is red and right half blue."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


@pytest.fixture
def run(folder: Path) -> Callable[..., tuple[dict[str, Any], Image.Image]]:
    """Return a function that runs a job on a picture's bytes and returns its answer and the new picture."""

    def job(body: bytes, target: str = "out.png", **fields: Any) -> tuple[dict[str, Any], Image.Image]:
        (folder / "in").write_bytes(body)
        base = f"file://{folder}"
        payload = ResizePayload.model_validate(
            {"source": f"{base}/in", "target": f"{base}/{target}", "width": 50} | fields
        )
        answer = resize_image(payload, context(prefixes=base))
        written = (folder / target).read_bytes()
        assert answer["bytes"] == len(written)
        image = Image.open(io.BytesIO(written))
        image.load()
        assert (answer["width"], answer["height"]) == image.size
        return answer, image

    return job


def pixel(image: Image.Image, x: int, y: int) -> Pixel:
    """Return the colour at a place."""
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)
    return value


def near(one: Pixel, other: Pixel, by: int = 12) -> bool:
    """Whether two colours look the same."""
    return len(one) == len(other) and all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


Run = Callable[..., tuple[dict[str, Any], Image.Image]]


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"width": 50}, (50, 25)),
        ({"width": 50, "height": 50}, (50, 25)),
        ({"width": 100, "height": 10}, (20, 10)),
        ({"width": 400}, (200, 100)),
        ({"width": 400, "fit": "fill"}, (400, 200)),
        ({"width": 50, "height": 50, "fit": "fill"}, (50, 50)),
        ({"width": 50, "height": 50, "fit": "cover"}, (50, 50)),
        ({"width": 300, "height": 300, "fit": "cover"}, (300, 300)),
        ({"width": 50, "height": 50, "fit": "contain"}, (50, 50)),
        ({"width": 400, "height": 400, "fit": "contain"}, (400, 400)),
        ({"width": 1, "height": 1}, (1, 1)),
    ],
)
def test_each_fit_gives_its_size(run: Run, fields: dict[str, Any], size: tuple[int, int]) -> None:
    """A picture of 200 x 100 in a box: inside keeps its shape and never enlarges it, the others fill the box."""
    _, image = run(encoded(halves(), "PNG"), **fields)
    assert image.size == size


def test_cover_cuts_both_sides_evenly(run: Run) -> None:
    """Cover cuts both ends equally, so the middle of the picture stays in the middle."""
    _, image = run(encoded(halves(), "PNG"), width=50, height=50, fit="cover")
    assert pixel(image, 2, 25) == RED
    assert pixel(image, 47, 25) == BLUE


def test_contain_fills_up_with_nothing_or_white(run: Run) -> None:
    """Contain keeps the picture's shape, on a ground that is transparent, or white in a JPEG."""
    body = encoded(halves(), "PNG")
    _, clear = run(body, width=50, height=50, fit="contain")
    assert pixel(clear, 25, 2)[3] == 0
    assert pixel(clear, 2, 25) == (*RED, 255)
    _, white = run(body, target="out.jpg", width=50, height=50, fit="contain")
    assert near(pixel(white, 25, 2), (255, 255, 255))
    assert near(pixel(white, 5, 25), RED)


@pytest.mark.parametrize(
    ("target", "fields", "kind"),
    [
        ("out.jpg", {}, "JPEG"),
        ("out.JPEG", {}, "JPEG"),
        ("out.png", {}, "PNG"),
        ("out.webp", {}, "WEBP"),
        ("out.bin", {"format": "webp"}, "WEBP"),
        ("out.png", {"format": "jpeg"}, "JPEG"),
    ],
)
def test_the_format_is_what_is_asked_or_the_ending_says(
    run: Run, target: str, fields: dict[str, Any], kind: str
) -> None:
    """The field format counts more than the target's ending."""
    answer, image = run(encoded(halves(), "PNG"), target=target, **fields)
    assert image.format == kind
    assert answer["format"] == kind.lower()


def test_quality_changes_the_size(run: Run) -> None:
    """A lower quality gives a smaller file."""
    noise = encoded(Image.effect_noise((200, 200), 80).convert("RGB"), "PNG")
    low, _ = run(noise, target="out.jpg", width=200, quality=20)
    high, _ = run(noise, target="out.jpg", width=200, quality=95)
    assert low["bytes"] < high["bytes"] / 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_comes_out_upright(run: Run, orientation: int) -> None:
    """All eight EXIF orientations are undone: red is left and blue is right again, as the camera saw it."""
    turns = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = halves(size=(1600, 800))
    for turn in turns.get(orientation, []):
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    _, image = run(encoded(stored, "JPEG", quality=95, exif=exif), width=100, height=100)
    assert image.size == (100, 50)
    assert near(pixel(image, 10, 25), RED)
    assert near(pixel(image, 90, 25), BLUE)
    assert ORIENTATION not in image.getexif()


@pytest.mark.parametrize("target", ["out.jpg", "out.png", "out.webp"])
def test_what_a_photo_tells_is_left_behind(run: Run, folder: Path, target: str) -> None:
    """Place, camera and comments do not reach the new file."""
    exif = Image.Exif()
    exif[MAKE] = "SecretCamera"
    exif.get_ifd(GPS)[1] = "N"
    body = encoded(halves(), "JPEG", exif=exif, comment=b"SecretComment")
    assert b"SecretCamera" in body
    assert b"SecretComment" in body
    _, image = run(body, target=target)
    assert not image.getexif()
    assert b"Secret" not in (folder / target).read_bytes()


def test_a_colour_profile_is_kept(run: Run) -> None:
    """A picture in a colour space of its own keeps the profile that says so."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for target in ("out.jpg", "out.png", "out.webp"):
        _, image = run(encoded(halves(), "PNG", icc_profile=profile), target=target)
        assert image.info["icc_profile"] == profile


def test_a_profile_of_another_colour_space_is_dropped(run: Run) -> None:
    """A profile that does not describe the new pixels would spoil them."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    _, image = run(encoded(Image.new("L", (100, 100), 99), "PNG", icc_profile=profile))
    assert image.mode == "L"
    assert "icc_profile" not in image.info


@pytest.mark.parametrize("profile", [b"", b"no profile at all"])
def test_print_colours_become_screen_colours(run: Run, profile: bytes) -> None:
    """A CMYK picture becomes RGB, with a usable profile and without one."""
    for target in ("out.jpg", "out.png", "out.webp"):
        cmyk = encoded(halves("CMYK"), "JPEG", quality=95, icc_profile=profile)
        _, image = run(cmyk, target=target)
        assert near(pixel(image.convert("RGB"), 5, 12), RED, by=30)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
def test_transparency_becomes_white_in_a_jpeg(run: Run, mode: str) -> None:
    """Transparent pixels become white in a JPEG, however the source stores transparency."""
    image = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    image.paste((*BLUE, 255), (0, 0, 50, 100))
    if mode == "P":
        body = encoded(image.quantize(8), "PNG")
    else:
        body = encoded(
            image.convert("LA") if mode == "LA" else image,
            "WEBP" if mode == "PA" else "PNG",
            **({"lossless": True} if mode == "PA" else {}),
        )
    _, jpeg = run(body, target="out.jpg")
    assert near(pixel(jpeg.convert("RGB"), 45, 25), (255, 255, 255))
    dark = pixel(jpeg.convert("RGB"), 5, 25)
    assert max(dark[:2]) < 60
    _, png = run(body)
    assert pixel(png, 45, 25)[-1] == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
def test_other_ways_to_store_a_pixel_are_understood(run: Run, mode: str) -> None:
    """Black and white, grey, palettes and 16-bit grey keep their brightness."""
    if mode == "I;16":
        image = Image.new("I;16", (100, 100), 0x8080)
    else:
        image = Image.new("L", (100, 100), 255 if mode == "1" else 128).convert(mode)
    expected = 255 if mode == "1" else 128
    for target in ("out.jpg", "out.png", "out.webp"):
        _, result = run(encoded(image, "PNG"), target=target)
        assert near(pixel(result.convert("RGB"), 10, 10), (expected,) * 3, by=2)


def test_the_first_frame_of_an_animation_is_taken(run: Run) -> None:
    """Of an animated GIF, WebP or PNG the first frame is scaled."""
    frames = [Image.new("RGB", (100, 100), colour) for colour in (RED, BLUE, GREEN)]
    for kind in ("GIF", "WEBP", "PNG"):
        body = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
        _, image = run(body)
        assert near(pixel(image.convert("RGB"), 25, 25), RED)
        assert getattr(image, "n_frames", 1) == 1


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that claims a size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(10_000)))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(60_000, 60_000), (10_000, 9_000), (7_072, 7_072), (2**31 - 1, 1)])
def test_a_picture_that_claims_too_many_pixels_is_refused(
    run: Run, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file that would unpack to gigabytes is refused by its header, before a pixel is decoded."""

    def load(*_: object) -> None:
        pytest.fail("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(GiveUp, match="pixels"):
        run(bomb(*size))


def test_a_shape_that_would_grow_without_end_is_refused(run: Run) -> None:
    """A thin strip made wide would be too high: the result has a limit as the source has."""
    with pytest.raises(GiveUp, match="the result would have"):
        run(encoded(Image.new("RGB", (1, 1000)), "PNG"), width=5000, fit="fill")


def damaged() -> dict[str, tuple[bytes, str]]:
    """Return broken files, each with the reason that its job gives."""
    jpeg = encoded(Image.effect_noise((300, 300), 90).convert("RGB"), "JPEG")
    png = encoded(Image.effect_noise((300, 300), 90).convert("RGB"), "PNG")
    webp = encoded(halves(), "WEBP")
    gif = encoded(halves(), "GIF")
    return {
        "half a jpeg": (jpeg[: len(jpeg) // 2], "damaged"),
        "half a png": (png[: len(png) // 2], "damaged"),
        "half a webp": (webp[: len(webp) // 2], "no JPEG, PNG|damaged"),
        "the head of a gif": (gif[:20], "no JPEG, PNG|damaged"),
        "a changed png": (png[:100] + b"xxxx" + png[104:], "damaged"),
        "nothing": (b"", "no JPEG, PNG"),
        "text": (b"hello", "no JPEG, PNG"),
        "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no JPEG, PNG"),
        "bmp": (encoded(halves(), "BMP"), "no JPEG, PNG"),
        "tiff": (encoded(halves(), "TIFF"), "no JPEG, PNG"),
        "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "no JPEG, PNG"),
    }


@pytest.mark.parametrize("name", damaged())
def test_a_file_that_is_no_picture_gives_up(run: Run, folder: Path, name: str) -> None:
    """A broken file, or a format that is not supported, gives the job up with a reason and writes nothing."""
    body, reason = damaged()[name]
    with pytest.raises(GiveUp, match=reason):
        run(body)
    assert [path.name for path in folder.iterdir()] == ["in"]


def test_a_source_over_50_megabytes_is_not_read(run: Run) -> None:
    """Too large a file is refused before it is read."""
    with pytest.raises(GiveUp, match="more than 50000000"):
        run(bytes(50_000_001))


def test_s3_to_s3(aws: str, bucket: Callable[[str], bytes], folder: Path) -> None:
    """A picture is taken from one object and put into another, with its content type."""
    objects = context(prefixes="s3://bucket").objects
    assert hasattr(objects, "_s3_endpoint")
    objects._s3_endpoint = aws
    objects.write("s3://bucket/in.png", encoded(halves(), "PNG"), content_type="image/png")
    made = context()
    job = type(made)(made.job_id, 1, made.deadline, made.log, objects, made.mail, made.http)
    payload = ResizePayload(source="s3://bucket/in.png", target="s3://bucket/small.webp", width=50)
    answer = resize_image(payload, job)
    assert Image.open(io.BytesIO(bucket("small.webp"))).size == (50, 25)
    assert answer["target"] == "s3://bucket/small.webp"


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "http://example.com/a.png"},
        {"target": "s3://bucket/../x.png"},
        {"target": "s3://bucket/out"},
        {"target": "s3://bucket/out.gif"},
        {"format": "gif"},
        {"width": 0},
        {"width": 10_001},
        {"width": "wide"},
        {"height": 0},
        {"width": 10_000, "height": 10_000},
        {"fit": "crop"},
        {"quality": 0},
        {"quality": 101},
        {"quality": 80},
        {"blur": 3},
    ],
)
def test_a_payload_that_makes_no_picture_is_refused(changes: dict[str, Any]) -> None:
    """Bad URLs, sizes, formats, and a quality for a PNG fail validation."""
    good = {"source": "s3://bucket/in.png", "target": "s3://bucket/out.png", "width": 10}
    ResizePayload.model_validate(good)
    with pytest.raises(ValidationError):
        ResizePayload.model_validate(good | changes)
