import io
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError
from pypdf import PdfReader

from sweephand.domain.handler import GiveUp
from sweephand.handlers.generate_pdf import PdfPayload, created, generate_pdf
from tests.handlers.conftest import context

URL = "file:///srv/out.pdf"


@pytest.fixture
def make(folder: Path) -> Any:
    """Return a function that runs a job on Markdown and returns the finished document."""

    def job(markdown: str, **fields: Any) -> PdfReader:
        base = f"file://{folder}"
        payload = PdfPayload.model_validate(
            {"title": "The title", "markdown": markdown, "target": f"{base}/out.pdf"} | fields
        )
        answer = generate_pdf(payload, context(prefixes=base))
        body = (folder / "out.pdf").read_bytes()
        reader = PdfReader(io.BytesIO(body), strict=True)
        assert answer == {"target": payload.target, "pages": len(reader.pages), "bytes": len(body)}
        return reader

    return job


def text(reader: PdfReader) -> str:
    """Return the whole document's text, with single spaces."""
    return " ".join(" ".join(page.extract_text() for page in reader.pages).split())


def links(reader: PdfReader) -> list[str]:
    """Return where the document's links lead."""
    notes: list[Any] = [note.get_object() for page in reader.pages for note in page.get("/Annots", [])]
    return [str(note["/A"]["/URI"]) for note in notes]


def fonts(reader: PdfReader) -> set[str]:
    """Return the names of the fonts on all pages, without the prefix of a subset."""
    pages: list[Any] = list(reader.pages)
    found = [font.get_object() for page in pages for font in page["/Resources"]["/Font"].values()]
    return {str(font["/BaseFont"]).partition("+")[2] for font in found}


def test_every_kind_of_block_is_printed(make: Any) -> None:
    """Headings, lists, code, quotes, tables and rules all print their words, in order."""
    markdown = """
# One

Some **bold**, *italic*, `code` and ~~old~~ text.

- first
  - nested
    1. deep
- second

> quoted
>
> > twice

```python
def f():
    return 1
```

| Name | Sum |
|------|----:|
| a    | 12  |

---

Line one\\
line two
"""
    whole = text(make(markdown))
    words = "One Some bold italic code old first nested 1. deep second quoted twice def f(): return Name Sum a 12"
    position = 0
    for word in [*words.split(), "Line one", "line two"]:
        position = whole.index(word, position)


@pytest.mark.parametrize(
    "phrase",
    [
        "Zażółć gęślą jaźń ßÆŒ ñ ő ğ",
        "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία ἀρχή",
        "Съешь же ещё этих мягких французских булок ЇєҐґ",
        "“quotes” — € £ ½ → ≤ ∞ …",
    ],
)
def test_latin_greek_and_cyrillic_read_back(make: Any, phrase: str) -> None:
    """Each script prints in plain, bold, slanted and fixed type, from fonts inside the file."""
    reader = make(f"{phrase}\n\n**{phrase}**\n\n*{phrase}*\n\n***{phrase}***\n\n`{phrase}`")
    assert text(reader).count(phrase) == 5
    assert fonts(reader) == {
        "DejaVuSansBook",
        "DejaVuSansBold",
        "DejaVuSansOblique",
        "DejaVuSansBoldOblique",
        "DejaVuSansMonoBook",
    }


def test_a_character_without_a_glyph_prints_as_a_box(make: Any) -> None:
    """Emoji and scripts that the fonts lack do not stop the document."""
    assert "□ and □□ end" in text(make("🎉 and 漢字 end"))


def test_the_file_says_what_it_is(make: Any) -> None:
    """The metadata hold the title, the maker and the job's own date; the outline holds the headings."""
    reader = make("# One\n\n### Two\n\n# Three", title="Bericht — Ärger")
    assert reader.metadata.title == "Bericht — Ärger"
    assert reader.metadata.creation_date == datetime(2026, 1, 1, tzinfo=UTC)
    outline = [entry.title for entry in reader.outline if not isinstance(entry, list)]
    assert outline == ["One", "Three"]


def test_a_first_heading_that_repeats_the_title_is_left_out(make: Any) -> None:
    """A document that begins with its own title prints it once."""
    assert text(make("# The title\n\nBody")).count("The title") == 1


def test_the_same_job_writes_the_same_bytes(make: Any, folder: Path) -> None:
    """A second attempt gives the very same file."""
    make("# One\n\nText with [a link](https://example.com)")
    first = (folder / "out.pdf").read_bytes()
    make("# One\n\nText with [a link](https://example.com)")
    assert (folder / "out.pdf").read_bytes() == first


def test_pages_break_and_are_numbered(make: Any) -> None:
    """A long document runs over pages, loses no paragraph, and says which page of how many each is."""
    reader = make("\n\n".join(f"Paragraph {n}." for n in range(200)))
    assert len(reader.pages) > 3
    assert re.findall(r"Paragraph (\d+)\.", text(reader)) == [str(n) for n in range(200)]
    for number, page in enumerate(reader.pages, 1):
        assert f"{number} / {len(reader.pages)}" in page.extract_text()


@pytest.mark.parametrize(("page", "points"), [("A4", (595, 842)), ("Letter", (612, 792))])
def test_the_paper_is_the_one_asked_for(make: Any, page: str, points: tuple[int, int]) -> None:
    """A4 and Letter have their own sizes."""
    box = make("x", page=page).pages[0].mediabox
    assert (round(box.width), round(box.height)) == points


def test_only_web_and_mail_links_open(make: Any) -> None:
    """Links to http, https and mailto can be clicked; others are text."""
    reader = make(
        "[a](https://example.com/a?b=c) [b](http://example.com) <mailto:me@example.com> <me@example.com> "
        "[c](javascript:alert) [d](file:///etc/passwd) [e](ftp://example.com) [f](#anchor) [g](/path) "
        "[h](data:text/html,x) [i](other.pdf)"
    )
    assert links(reader) == [
        "https://example.com/a?b=c",
        "http://example.com",
        "mailto:me@example.com",
        "mailto:me@example.com",
    ]
    assert all(word in text(reader) for word in ("f", "g", "i"))


def test_nothing_is_fetched(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images and HTML are printed as text; no file and no socket is opened."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("something was fetched")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("fpdf.FPDF.image", refuse)
    reader = make(
        '![a chart](http://169.254.169.254/x.png)\n\n![](/etc/passwd)\n\n<img src="file:///etc/passwd">\n\n'
        '<script>alert(1)</script>\n\n<iframe src="http://127.0.0.1/">'
    )
    whole = text(reader)
    assert "[a chart]" in whole
    assert "[image]" in whole
    assert "<script>alert(1)</script>" in whole
    assert "root:" not in whole
    assert all(not page.images for page in reader.pages)


@pytest.mark.parametrize(
    "markdown",
    [
        "x" * 5000,
        "```\n" + "x" * 5000 + "\n```",
        "# " + "x" * 5000,
        "- " + "x" * 5000,
        "| a |\n|---|\n| " + "x" * 5000 + " |",
        ">" * 9 + "x" * 5000,
        "`" + "x" * 5000 + "`",
        "**" + "x" * 2500 + "**" + "x" * 2500,
    ],
)
def test_a_word_wider_than_the_page_is_cut(make: Any, markdown: str) -> None:
    """Not one letter of an endless word is lost, and none stands beyond the margin."""
    reader = make(markdown, title="T")
    found = "".join(page.extract_text() for page in reader.pages)
    assert found.count("x") == 5000
    right = 595 - 22 / 25.4 * 72
    for page in reader.pages:
        for line in page.extract_text(extraction_mode="layout").splitlines():
            assert len(line.strip()) < 130
        starts: list[float] = []
        page.extract_text(visitor_text=lambda _t, _c, matrix, *_, starts=starts: starts.append(matrix[4]))
        assert max(starts) < right


def test_a_code_block_keeps_its_spaces(make: Any) -> None:
    """Indentation in code survives, with tabs as four columns."""
    lines = make("```\na\n    b\n\tc\n```").pages[0].extract_text(extraction_mode="layout").splitlines()
    columns = {line.strip(): len(line) - len(line.lstrip()) for line in lines if line.strip() in ("a", "b", "c")}
    assert columns["b"] > columns["a"]
    assert columns["b"] == columns["c"]


def test_a_long_table_repeats_its_head(make: Any) -> None:
    """Each page of a table begins with the names of its columns, and no row is lost."""
    rows = "\n".join(f"| row {n} | {n} |" for n in range(150))
    reader = make(f"| Name | Sum |\n|---|---:|\n{rows}")
    assert len(reader.pages) > 3
    assert all("Name" in page.extract_text() for page in reader.pages)
    assert re.findall(r"row (\d+)", text(reader)) == [str(n) for n in range(150)]


def test_a_row_higher_than_a_page_runs_on(make: Any) -> None:
    """A cell or a head with more text than a page holds continues on the next page, and no word is lost."""
    words = " ".join(f"w{n}" for n in range(3000))
    for table in (f"| a | b |\n|---|---|\n| {words} | x |", f"| {words} | b |\n|---|---|\n| a | x |"):
        reader = make(table)
        assert len(reader.pages) > 2
        assert re.findall(r"w(\d+)", text(reader)) == [str(n) for n in range(3000)]


def test_a_table_with_too_many_columns_gives_up(make: Any) -> None:
    """A table whose columns would be narrower than two letters gives the job up, with that reason."""
    with pytest.raises(GiveUp, match="60 columns"):
        make("|a" * 60 + "|\n" + "|-" * 60 + "|\n")


def test_a_document_without_end_gives_up(make: Any) -> None:
    """A document of more than 500 pages gives the job up, with that reason."""
    with pytest.raises(GiveUp, match="more than 500 pages"):
        make("---\n\n" * 40_000)


@pytest.mark.parametrize(
    "markdown",
    [
        ">" * 50_000 + " a",
        "".join("  " * n + "- a\n" for n in range(200)),
        "[" * 20_000,
        "![" * 10_000,
        "*a " * 10_000,
        "`" * 50_000,
        "<" * 50_000,
        "\\" * 50_000,
        "|" * 50_000,
        "\x00\x01\x7f\ufffe",
        "\u202ertl \u05e9\u05dc\u05d5\u05dd",
        "",
        "\n" * 100_000,
        "[a]: http://x\n" * 5000,
        "0. zero\n1. one",
        "999999999. big\n",
        "-\n-\n-",
        "> ",
        "#",
        "| |\n|-|\n| |",
    ],
)
def test_odd_input_makes_a_document(make: Any, markdown: str) -> None:
    """Endless nesting, broken markup, control characters and an empty text give a document."""
    assert len(make(markdown).pages) >= 1


def test_a_numbered_list_keeps_its_numbers(make: Any) -> None:
    """A list begins at its first number, which may be zero, and a number of four digits fits."""
    assert "0. zero 1. one" in text(make("0. zero\n1. one"))
    assert "998. a 999. b 1000. c" in text(make("998. a\n1. b\n1. c"))


def test_a_heading_stays_with_its_text(make: Any) -> None:
    """No page ends with a heading: it moves to the next page with the text below it."""
    for lines in range(38, 52):
        reader = make("\n\n".join(["x"] * lines) + "\n\n## Heading\n\nBelow")
        pages = [page.extract_text() for page in reader.pages]
        assert any("Heading" in page and "Below" in page for page in pages)


def test_a_file_is_small(make: Any, folder: Path) -> None:
    """Only the glyphs that are used are put into the file."""
    make("Some words, **bold** and *slanted*.")
    assert (folder / "out.pdf").stat().st_size < 100_000


@pytest.mark.parametrize(
    ("job_id", "date"),
    [
        ("019b76da-a800-7abc-8def-0123456789ab", datetime(2026, 1, 1, tzinfo=UTC)),
        ("9b2d1a40-0000-4abc-8def-0123456789ab", datetime(1970, 1, 1, tzinfo=UTC)),
        ("ffffffff-ffff-7abc-8def-0123456789ab", datetime(9999, 1, 1, tzinfo=UTC)),
    ],
)
def test_the_date_is_the_jobs(job_id: str, date: datetime) -> None:
    """The document's date is the time in a UUIDv7; any other id gives 1970."""
    assert created(UUID(job_id)) == date


@pytest.mark.parametrize(
    "changes",
    [
        {"title": ""},
        {"title": " "},
        {"title": "two\nlines"},
        {"title": "\ud800x"},
        {"title": "x" * 501},
        {"markdown": None},
        {"markdown": "\ud800"},
        {"markdown": "x" * 262_145},
        {"target": "out.pdf"},
        {"page": "A5"},
        {"css": "x"},
    ],
)
def test_a_payload_that_makes_no_document_is_refused(changes: dict[str, Any]) -> None:
    """Empty titles, bad URLs, other paper sizes and unknown fields fail validation."""
    good = {"title": "T", "markdown": "", "target": URL}
    PdfPayload.model_validate(good)
    with pytest.raises(ValidationError):
        PdfPayload.model_validate(good | changes)
