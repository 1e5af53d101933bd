"""A whole document: parse, draw, number."""

import logging
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from sweephand.handlers.pdf import theme
from sweephand.handlers.pdf.blocks import draw_blocks
from sweephand.handlers.pdf.inline import Run, Style, inline_tokens, printable, read_runs
from sweephand.handlers.pdf.sheet import Sheet
from sweephand.handlers.pdf.theme import TITLE

# They would print the document's characters and each font's tables.
logging.getLogger("fpdf").setLevel(logging.ERROR)
logging.getLogger("fontTools").setLevel(logging.ERROR)


MAX_NESTING = 40
"""How deep blocks and inline marks may nest: a list counts two, itself and its item."""


@dataclass(frozen=True, slots=True)
class Pdf:
    """A finished file."""

    body: bytes
    pages: int


def render(title: str, markdown: str, page: str, created: datetime) -> Pdf:
    """Set `markdown` on pages of the size `page` (`A4` or `Letter`) under `title`.

    CommonMark with tables and strikethrough. Raw HTML is printed as it is written, images as their text:
    nothing outside the arguments is looked at, so the same arguments give the same bytes.
    What is nested deeper than 40 is left out.

    Raises `GiveUp` for more than 500 pages and for a table with too many columns.
    """
    options = {"html": False, "maxNesting": MAX_NESTING}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    blocks = SyntaxTreeNode(parser.parse(markdown)).children
    heading = " ".join(printable(title).split())
    if blocks and _says(blocks[0], heading):
        # Many documents begin with their own title.
        blocks = blocks[1:]
    with closing(Sheet(page, heading, created)) as sheet:
        lines = sheet.wrap([Run(heading, Style(bold=True))], sheet.frame.width, TITLE)
        sheet.lines(lines, sheet.frame, TITLE)
        sheet.gap(2 * theme.GAP, sheet.frame)
        draw_blocks(blocks, sheet, sheet.frame)
        return Pdf(sheet.finish(), sheet.pages)


def _says(node: SyntaxTreeNode, title: str) -> bool:
    text = "".join(run.text for run in read_runs(inline_tokens(node), Style()))
    return node.type == "heading" and node.tag == "h1" and " ".join(text.split()) == title
