"""A whole document: parse the Markdown, draw it, number the pages."""

import logging
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from sweephand.handlers.pdf import theme
from sweephand.handlers.pdf.blocks import draw_blocks
from sweephand.handlers.pdf.canvas import Canvas
from sweephand.handlers.pdf.styled_text import Run, Style, inline_tokens, printable, read_runs
from sweephand.handlers.pdf.theme import TITLE

# Their logs would hold characters of the document, and tables of each font.
logging.getLogger("fpdf").setLevel(logging.ERROR)
logging.getLogger("fontTools").setLevel(logging.ERROR)


MAX_NESTING = 40
"""How deep blocks and inline marks may nest. A list counts twice: itself and its item."""


@dataclass(frozen=True, slots=True)
class Pdf:
    """A finished PDF and its number of pages."""

    body: bytes
    pages: int


def render(title: str, markdown: str, page: str, created: datetime) -> Pdf:
    """Set `markdown` on pages of the size `page` (`A4` or `Letter`) under `title`.

    `markdown` is CommonMark with tables and strikethrough. Raw HTML is printed as text, and an image as its
    description: no file and no URL is opened, so the same arguments give the same bytes.
    Blocks and marks that are nested more than `MAX_NESTING` deep are left out.

    Raises `GiveUp` for a document of more than 500 pages, and for a table that the page is too narrow for.
    """
    options = {"html": False, "maxNesting": MAX_NESTING}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    blocks = SyntaxTreeNode(parser.parse(markdown)).children
    heading = " ".join(printable(title).split())
    if blocks and _repeats(blocks[0], heading):
        # Many documents begin with their own title: print it once.
        blocks = blocks[1:]
    with closing(Canvas(page, heading, created)) as canvas:
        lines = canvas.wrap([Run(heading, Style(bold=True))], canvas.frame.width, TITLE)
        canvas.draw_lines(lines, canvas.frame, TITLE)
        canvas.gap(2 * theme.GAP, canvas.frame)
        draw_blocks(blocks, canvas, canvas.frame)
        return Pdf(canvas.finish(), canvas.pages)


def _repeats(node: SyntaxTreeNode, title: str) -> bool:
    text = "".join(run.text for run in read_runs(inline_tokens(node), Style()))
    return node.type == "heading" and node.tag == "h1" and " ".join(text.split()) == title
