import re

import pytest

from sweephand.handlers.objects.url import ObjectUrl, parse_object_url, parse_prefix

HOSTILE = {
    "": "must start with",
    "bucket/key": "must start with",
    "http://bucket/key": "must start with",
    "https://s3.amazonaws.com/bucket/key": "must start with",
    "S3://bucket/key": "must start with",
    "s3:/bucket/key": "must start with",
    " s3://bucket/key": "must start with",
    "ftp://bucket/key": "must start with",
    "data:text/plain,x": "must start with",
    "s3://bucket": "names no object",
    "s3://bucket/": "names no object",
    "file:///": "names no object",
    "s3:///key": "bucket's name",
    "s3://user@bucket/key": "bucket's name",
    "s3://user:pass@bucket/key": "bucket's name",
    "s3://bucket:9000/key": "bucket's name",
    "s3://BUCKET/key": "bucket's name",
    "s3://buc..ket/key": "bucket's name",
    "s3://../key": "bucket's name",
    "s3://b%75cket/key": "bucket's name",
    "s3://bucket\\@evil/key": "bucket's name",
    "s3://bücket/key": "bucket's name",
    "file://host/etc/passwd": "names no host",
    "file://localhost/etc/passwd": "names no host",
    "file://": "three slashes",
    "file:/etc/passwd": "must start with",
    "file:////etc/passwd": "segment ''",
    "s3://bucket//key": "segment ''",
    "s3://bucket/a//b": "segment ''",
    "s3://bucket/a/": "segment ''",
    "s3://bucket/../key": "segment '..'",
    "s3://bucket/a/..": "segment '..'",
    "s3://bucket/./key": "segment '.'",
    "file:///srv/../etc/passwd": "segment '..'",
    "s3://bucket/%2e%2e/key": "character '%'",
    "s3://bucket/a%2Fb": "character '%'",
    "s3://bucket/a%00b": "character '%'",
    "s3://bucket/a?versionId=1": "character '?'",
    "s3://bucket/a#b": "character '#'",
    "s3://bucket/a\\b": "character '\\\\'",
    "s3://bucket/*": "character '*'",
    "s3://bucket/a\x00b": "character '\\x00'",
    "s3://bucket/a\nb": "character '\\n'",
    "s3://bucket/a\x7fb": "character '\\x7f'",
    "s3://bucket/a\u202eb": "character '\\u202e'",
    "s3://bucket/a\u200bb": "character '\\u200b'",
    "s3://bucket/a\ud800b": "character '\\ud800'",
    "s3://bucket/a\u2028b": "character '\\u2028'",
    "s3://bucket/" + "a" * 256: "segment of more than 255",
    "s3://bucket/" + "é" * 128: "segment of more than 255",
    "s3://bucket/" + "/".join(["a" * 200] * 6): "longer than 1024",
}


@pytest.mark.parametrize("url", HOSTILE)
def test_a_url_with_a_second_reading_is_refused(url: str) -> None:
    """A URL that another program could read differently is refused, and the reason names the mistake."""
    with pytest.raises(ValueError, match=re.escape(HOSTILE[url])):
        parse_object_url(url)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://my-bucket/a/b.png", ("s3", "my-bucket", ("a", "b.png"))),
        ("gs://my_bucket.example/ä ö.pdf", ("gs", "my_bucket.example", ("ä ö.pdf",))),
        ("file:///srv/out/x+y=(1).pdf", ("file", "", ("srv", "out", "x+y=(1).pdf"))),
        ("s3://bucket/...", ("s3", "bucket", ("...",))),
    ],
)
def test_a_plain_url_is_cut_into_its_parts(url: str, parts: tuple[str, str, tuple[str, ...]]) -> None:
    """Ordinary names pass unchanged, with spaces and letters of any script."""
    assert parse_object_url(url) == ObjectUrl(*parts)


@pytest.mark.parametrize(
    ("prefix", "url", "allowed"),
    [
        ("s3://bucket/dir/", "s3://bucket/dir/a", True),
        ("s3://bucket/dir", "s3://bucket/dir/a/b", True),
        ("s3://bucket", "s3://bucket/a", True),
        ("s3://bucket/", "s3://bucket/a", True),
        ("s3://bucket", "s3://bucket-evil/a", False),
        ("s3://bucket", "gs://bucket/a", False),
        ("s3://bucket/dir", "s3://bucket/directory/a", False),
        ("s3://bucket/dir", "s3://bucket/dir", False),
        ("s3://bucket/dir", "s3://bucket/other/dir/a", False),
        ("file:///srv/out", "file:///srv/out/a", True),
        ("file:///srv/out", "file:///srv/outside/a", False),
        ("file:///srv/out", "file:///srv/a", False),
    ],
)
def test_a_prefix_holds_what_lies_below_it_by_whole_segments(prefix: str, url: str, *, allowed: bool) -> None:
    """A prefix is a folder: a longer name with the same beginning is another folder."""
    assert parse_object_url(url).is_under(parse_prefix(prefix)) is allowed


@pytest.mark.parametrize("prefix", ["file:///", "/srv/out", "s3://", "s3://bucket/../x", "s3://bucket/a//"])
def test_a_prefix_that_is_no_folder_is_refused(prefix: str) -> None:
    """The whole disk, a bare path and a path with tricks in it cannot be allowed by mistake."""
    with pytest.raises(ValueError, match=r"whole disk|must start|bucket's name|segment"):
        parse_prefix(prefix)
