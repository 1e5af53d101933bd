"""Draws tables: columns as wide as their content, rows that run over pages, the head on each page."""

from collections.abc import Sequence
from dataclasses import dataclass

from markdown_it.tree import SyntaxTreeNode

from sweephand.domain.handler import GiveUp
from sweephand.handlers.pdf import theme
from sweephand.handlers.pdf.canvas import Align, Canvas, Frame
from sweephand.handlers.pdf.line_breaking import Line, width_of
from sweephand.handlers.pdf.styled_text import Run, Style, inline_tokens, read_runs
from sweephand.handlers.pdf.theme import CELL

MIN_COLUMN = 7.0
"""The narrowest column: two characters and the padding, in millimetres."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell's text, and its alignment in the column."""

    runs: list[Run]
    align: Align


Row = list[Cell]


def draw_table(node: SyntaxTreeNode, canvas: Canvas, frame: Frame) -> None:
    """Draw the table `node`. Raises `GiveUp` if the page is too narrow for its columns."""
    head, *body = [_row(row) for part in node.children for row in part.children]
    if len(head) * MIN_COLUMN > frame.width:
        raise GiveUp(f"a table has {len(head)} columns, too many for the page")
    grid = _Grid(canvas, frame, head, _column_widths([head, *body], canvas, frame.width))
    grid.draw_head()
    for row in body:
        grid.draw_row(row)


def _row(node: SyntaxTreeNode) -> Row:
    return [_cell(cell) for cell in node.children]


def _cell(node: SyntaxTreeNode) -> Cell:
    style = str(node.attrGet("style") or "")
    align: Align = "right" if style.endswith("right") else "center" if style.endswith("center") else "left"
    return Cell(read_runs(inline_tokens(node), Style(bold=node.type == "th")), align)


def _column_widths(rows: Sequence[Row], canvas: Canvas, available: float) -> list[float]:
    """Return the width of each column: that of its widest cell, or less if all together are too wide."""
    natural = [max(_natural_width(row[index], canvas) for row in rows) for index in range(len(rows[0]))]
    if sum(natural) <= available:
        return natural
    # A column below the average keeps its width; the others share the rest in proportion to theirs.
    fair = available / len(natural)
    kept = sum(width for width in natural if width <= fair)
    over = sum(width - MIN_COLUMN for width in natural if width > fair)
    count = sum(width > fair for width in natural)
    spare = available - kept - count * MIN_COLUMN
    return [width if width <= fair else MIN_COLUMN + (width - MIN_COLUMN) * spare / over for width in natural]


def _natural_width(cell: Cell, canvas: Canvas) -> float:
    lines = canvas.wrap(cell.runs, float("inf"), CELL)
    return max(max(map(width_of, lines), default=0.0) + 2 * theme.CELL_PADDING, MIN_COLUMN)


class _Grid:
    def __init__(self, canvas: Canvas, frame: Frame, head: Row, widths: list[float]) -> None:
        self.canvas = canvas
        self.frame = frame
        self.head = head
        self.widths = widths
        self.head_cells = self._wrapped(head)
        # A head that would fill a quarter of every page is drawn once, as an ordinary row.
        self.repeats_head = _height(self.head_cells) < self._page_height() / 4

    def draw_head(self) -> None:
        if self.repeats_head:
            # A head must not stand alone at the end of a page: one line of a row follows it.
            self.canvas.ensure(_height(self.head_cells) + _ONE_LINE_ROW)
            self._draw_lines(self.head_cells, self.head, last=True, shade=True)
        else:
            self.draw_row(self.head)

    def draw_row(self, row: Row) -> None:
        cells = self._wrapped(row)
        if _height(cells) <= self._page_height() / 2 and _height(cells) > self.canvas.room():
            self._next_page()
        while any(cells):
            if self.canvas.room() < _ONE_LINE_ROW:
                self._next_page()
            fitting = int((self.canvas.room() - 2 * theme.CELL_PADDING) / CELL.height + 1e-6)
            rest = [lines[fitting:] for lines in cells]
            self._draw_lines([lines[:fitting] for lines in cells], row, last=not any(rest))
            cells = rest

    def _next_page(self) -> None:
        self.canvas.new_page()
        if self.repeats_head:
            self._draw_lines(self.head_cells, self.head, last=True, shade=True)

    def _page_height(self) -> float:
        return self.canvas.bottom - theme.MARGIN_TOP

    def _wrapped(self, row: Row) -> list[list[Line]]:
        pairs = zip(row, self.widths, strict=True)
        # An empty cell counts as one empty line, so that an empty row has a height.
        return [self.canvas.wrap(cell.runs, width - 2 * theme.CELL_PADDING, CELL) or [()] for cell, width in pairs]

    def _draw_lines(self, cells: list[list[Line]], row: Row, *, last: bool, shade: bool = False) -> None:
        canvas, left, height = self.canvas, self.frame.left, _height(cells)
        if shade:
            canvas.fill(left, canvas.y, sum(self.widths), height, theme.SHADE)
        for lines, cell, width in zip(cells, row, self.widths, strict=True):
            column = Frame(left + theme.CELL_PADDING, width - 2 * theme.CELL_PADDING)
            for number, line in enumerate(lines):
                y = canvas.y + theme.CELL_PADDING + number * CELL.height
                canvas.draw_aligned(line, column, y, CELL, cell.align)
            left += width
        canvas.advance(height, self.frame)
        if last:
            canvas.fill(self.frame.left, canvas.y - 0.1, sum(self.widths), 0.2, theme.RULE)


_ONE_LINE_ROW = CELL.height + 2 * theme.CELL_PADDING
"""The height of a row of one line."""


def _height(cells: list[list[Line]]) -> float:
    return max(map(len, cells)) * CELL.height + 2 * theme.CELL_PADDING
