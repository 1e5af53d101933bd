"""The pages, and how text, areas, links and bookmarks are drawn on them with fpdf2."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fpdf import FPDF
from fpdf.fonts import TTFFont

from sweephand.domain.handler import GiveUp
from sweephand.handlers.pdf import theme
from sweephand.handlers.pdf.line_breaking import Line, width_of, wrap
from sweephand.handlers.pdf.styled_text import Run, Style
from sweephand.handlers.pdf.theme import Colour, Face

MAX_PAGES = 500
MISSING = "□"
"""Printed in place of a character that the font lacks."""
Align = Literal["left", "center", "right"]


@dataclass(frozen=True, slots=True)
class Frame:
    """The column that blocks stand in, and the left edges of the quote bars beside it; in millimetres."""

    left: float
    width: float
    bars: tuple[float, ...] = ()

    def indented(self, by: float, *, bar: bool = False) -> "Frame":
        """Return a column that is indented by `by`, or by less if it would become narrower than `MIN_WIDTH`."""
        by = min(by, max(self.width - theme.MIN_WIDTH, 0))
        bars = (*self.bars, self.left) if bar and by else self.bars
        return Frame(self.left + by, self.width - by, bars)


class Canvas:
    """A growing document. `y` is the drawing position: millimetres below the current page's upper edge.

    Raises `GiveUp` at page 501. Close it in the end: it keeps the fonts' files open.
    """

    def __init__(self, page: str, title: str, created: datetime) -> None:
        self._pdf = FPDF(unit="mm", format=page)
        self._pdf.set_auto_page_break(auto=False)
        self._pdf.set_title(title)
        self._pdf.set_creator("Sweephand")
        self._pdf.set_creation_date(created)
        self._widths: dict[tuple[str, tuple[str, str]], float] = {}
        self._level = -1
        self.bottom = self._pdf.h - theme.MARGIN_BOTTOM
        self.frame = Frame(theme.MARGIN_SIDE, self._pdf.w - 2 * theme.MARGIN_SIDE)
        self.new_page()

    @property
    def pages(self) -> int:
        """The number of pages so far."""
        return self._pdf.pages_count

    @property
    def at_top(self) -> bool:
        """Whether the current page is empty."""
        return self.y <= theme.MARGIN_TOP

    def new_page(self) -> None:
        """Continue at the top of a new page."""
        if self.pages == MAX_PAGES:
            raise GiveUp(f"the document has more than {MAX_PAGES} pages")
        self._pdf.add_page()
        self.y = theme.MARGIN_TOP

    def room(self) -> float:
        """Return the height that is left on the current page."""
        return self.bottom - self.y

    def ensure(self, height: float) -> None:
        """Start a new page unless `height` is left on this one."""
        if height > self.room() and not self.at_top:
            self.new_page()

    def gap(self, height: float, frame: Frame) -> None:
        """Leave `height` free, unless the gap would stand at the top or at the end of a page."""
        if not self.at_top and height < self.room():
            self.advance(height, frame)

    def advance(self, height: float, frame: Frame) -> None:
        """Move down by `height` and draw the quote bars of `frame` beside it."""
        for left in frame.bars:
            self.fill(left, self.y, theme.QUOTE_BAR, height, theme.RULE)
        self.y += height

    def wrap(self, runs: Iterable[Run], width: float, face: Face) -> list[Line]:
        """Break `runs` into lines of at most `width` millimetres, in the size of `face`."""
        return wrap(runs, width, lambda text, style: self.measure(text, style, face))

    def measure(self, text: str, style: Style, face: Face) -> float:
        """Return how wide `text` is, in millimetres."""
        key = (text, style.font)
        per_point = self._widths.get(key)
        if per_point is None:
            drawn = self._drawable(text, style)
            per_point = self._font(style).get_text_width(drawn, 1, None)[1] * theme.POINT
            self._widths[key] = per_point
        return per_point * _size(style, face)

    def draw_lines(self, lines: Iterable[Line], frame: Frame, face: Face, *, shade: bool = False) -> None:
        """Draw `lines` below each other, on new pages where needed. `shade` draws a code block's ground."""
        for line in lines:
            self.ensure(face.height)
            inset = theme.CODE_PADDING if shade else 0
            if shade:
                self.fill(frame.left, self.y, frame.width, face.height, theme.SHADE)
            self.draw_text(line, frame.left + inset, self.y, face, plain=shade)
            self.advance(face.height, frame)

    def draw_code_edge(self, height: float, frame: Frame) -> None:
        """Draw the upper or lower edge of a code block's ground, at most to the end of the page."""
        height = min(height, self.room())
        self.fill(frame.left, self.y, frame.width, height, theme.SHADE)
        self.advance(height, frame)

    def draw_text(self, line: Line, x: float, y: float, face: Face, *, plain: bool = False) -> None:
        """Draw one line whose upper edge is at `y`. `plain` leaves out the ground behind inline code."""
        baseline = y + face.height / 2 + 0.36 * face.size * theme.POINT
        for piece in line:
            if piece.style.mono and not plain:
                self.fill(x, y + 0.12 * face.height, piece.width, 0.76 * face.height, theme.SHADE)
            drawn = self._drawable(piece.text, piece.style)
            self._pdf.set_font(*piece.style.font, size=_size(piece.style, face))
            self._pdf.set_text_color(*(theme.LINK if piece.style.link else face.colour))
            self._pdf.text(x, baseline, drawn)
            if piece.style.strike:
                self.fill(x, baseline - 0.27 * face.size * theme.POINT, piece.width, 0.2, face.colour)
            if piece.style.link:
                self._pdf.link(x, y, piece.width, face.height, piece.style.link)
            x += piece.width

    def draw_aligned(self, line: Line, frame: Frame, y: float, face: Face, align: Align) -> None:
        """Draw one line in `frame`, its upper edge at `y`, without moving the drawing position."""
        free = frame.width - width_of(line)
        shift = {"left": 0.0, "center": free / 2, "right": free}[align]
        self.draw_text(line, frame.left + shift, y, face)

    def fill(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Fill a rectangle."""
        self._pdf.set_fill_color(*colour)
        self._pdf.rect(x, y, width, height, style="F")

    def bookmark(self, name: str, level: int) -> None:
        """Add an entry to the outline that leads to this position.

        `level` counts from 0. An entry stands at most one level below the one before it.
        """
        self._level = min(level, self._level + 1)
        self._pdf.set_y(self.y)
        self._pdf.start_section(name, self._level)

    def finish(self) -> bytes:
        """Print the page numbers and return the finished file."""
        pages = self.pages
        for number in range(1, pages + 1):
            # The last number is known only now. fpdf2 must set the font again on the page that it returns to.
            self._pdf.page = number
            self._pdf.current_font_is_set_on_page = False
            line = self.wrap([Run(f"{number} / {pages}", Style())], self.frame.width, theme.SMALL)[0]
            y = self._pdf.h - theme.FOOTER - theme.SMALL.height
            self.draw_text(line, (self._pdf.w - width_of(line)) / 2, y, theme.SMALL)
        return bytes(self._pdf.output())

    def close(self) -> None:
        """Close the fonts' files: fpdf2 leaves them open."""
        for font in self._pdf.fonts.values():
            assert isinstance(font, TTFFont)
            font.ttfont.close()

    def _font(self, style: Style) -> TTFFont:
        """Return the font of `style`. Reading one takes some 25 ms, so each is read at its first use."""
        family, emphasis = style.font
        if family + emphasis not in self._pdf.fonts:
            self._pdf.add_font(family, emphasis, theme.FONT_FOLDER / theme.FONT_FILES[style.font])
        font = self._pdf.fonts[family + emphasis]
        assert isinstance(font, TTFFont)
        return font

    def _drawable(self, text: str, style: Style) -> str:
        known = self._font(style).cmap
        return "".join(char if ord(char) in known else MISSING for char in text)


def _size(style: Style, face: Face) -> float:
    return face.size * theme.CODE_SCALE if style.mono else face.size
