"""How the document looks: lengths in millimetres, sizes in points, colours as red, green and blue."""

from dataclasses import dataclass
from pathlib import Path

FONT_FOLDER = Path(__file__).parent.parent / "fonts"
FONT_FILES = {
    ("sans", ""): "DejaVuSans.ttf",
    ("sans", "B"): "DejaVuSans-Bold.ttf",
    ("sans", "I"): "DejaVuSans-Oblique.ttf",
    ("sans", "BI"): "DejaVuSans-BoldOblique.ttf",
    ("mono", ""): "DejaVuSansMono.ttf",
}

Colour = tuple[int, int, int]
INK: Colour = (33, 37, 41)
FAINT: Colour = (108, 117, 125)
LINK: Colour = (11, 87, 208)
RULE: Colour = (206, 212, 218)
SHADE: Colour = (243, 244, 246)

MARGIN_SIDE = 22.0
MARGIN_TOP = 20.0
MARGIN_BOTTOM = 22.0
FOOTER = 12.0
"""From the page's lower edge to the page number's baseline."""

GAP = 2.8
"""Between two blocks."""
INDENT = 7.0
QUOTE_INDENT = 6.0
QUOTE_BAR = 0.9
CODE_PADDING = 2.4
CELL_PADDING = 1.6
MIN_WIDTH = 40.0
"""Blocks are not indented further than to this width."""

CODE_SCALE = 0.9
"""The size of code relative to the text around it: DejaVu Sans Mono looks larger than DejaVu Sans."""
POINT = 25.4 / 72


@dataclass(frozen=True, slots=True)
class Face:
    """How a kind of text looks: `size` in points, `leading` as the line's height relative to it."""

    size: float
    leading: float = 1.45
    bold: bool = False
    colour: Colour = INK

    @property
    def height(self) -> float:
        """A line's height, in millimetres."""
        return self.size * self.leading * POINT


BODY = Face(10)
CELL = Face(9, 1.4)
CODE = Face(10, 1.3)
SMALL = Face(8, colour=FAINT)
TITLE = Face(21, 1.25, bold=True)
HEADINGS = (
    Face(16.5, 1.3, bold=True),
    Face(13.5, 1.3, bold=True),
    Face(11.5, 1.35, bold=True),
    Face(10, bold=True),
    Face(10, bold=True, colour=FAINT),
    Face(9, bold=True, colour=FAINT),
)
