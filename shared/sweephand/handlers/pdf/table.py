"""Tables: columns by their content, rows over pages, the head on each."""

from collections.abc import Sequence
from dataclasses import dataclass

from markdown_it.tree import SyntaxTreeNode

from sweephand.domain.handler import GiveUp
from sweephand.handlers.pdf import theme
from sweephand.handlers.pdf.inline import Run, Style, inline_tokens, read_runs
from sweephand.handlers.pdf.sheet import Align, Frame, Sheet
from sweephand.handlers.pdf.theme import CELL
from sweephand.handlers.pdf.wrap import Line, width_of

MIN_COLUMN = 7.0
"""The narrowest column, padding included, in millimetres: two characters."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What one cell says and where it stands in its column."""

    runs: list[Run]
    align: Align


Row = list[Cell]


def draw_table(node: SyntaxTreeNode, sheet: Sheet, frame: Frame) -> None:
    """Draw the table `node`. Raises `GiveUp` if it has more columns than the page is wide for."""
    head, *body = [_row(row) for part in node.children for row in part.children]
    if len(head) * MIN_COLUMN > frame.width:
        raise GiveUp(f"a table has {len(head)} columns, too many for the page")
    grid = _Grid(sheet, frame, head, _column_widths([head, *body], sheet, frame.width))
    grid.draw_head()
    for row in body:
        grid.draw_row(row)


def _row(node: SyntaxTreeNode) -> Row:
    return [_cell(cell) for cell in node.children]


def _cell(node: SyntaxTreeNode) -> Cell:
    inline = inline_tokens(node)
    wanted = str(node.attrGet("style") or "")
    align: Align = "right" if wanted.endswith("right") else "center" if wanted.endswith("center") else "left"
    return Cell(read_runs(inline, Style(bold=node.type == "th")), align)


def _column_widths(rows: Sequence[Row], sheet: Sheet, room: float) -> list[float]:
    """Give each column what its widest cell needs, or, if that is too much, a share that favours the wide."""
    needs = [max(_need(row[index], sheet) for row in rows) for index in range(len(rows[0]))]
    if sum(needs) <= room:
        return needs
    # Narrow columns keep what they need; the others share the rest in proportion.
    fair = room / len(needs)
    kept = sum(need for need in needs if need <= fair)
    over = sum(need - MIN_COLUMN for need in needs if need > fair)
    count = sum(need > fair for need in needs)
    spare = room - kept - count * MIN_COLUMN
    return [need if need <= fair else MIN_COLUMN + (need - MIN_COLUMN) * spare / over for need in needs]


def _need(cell: Cell, sheet: Sheet) -> float:
    lines = sheet.wrap(cell.runs, float("inf"), CELL)
    return max(max(map(width_of, lines), default=0.0) + 2 * theme.CELL_PADDING, MIN_COLUMN)


class _Grid:
    def __init__(self, sheet: Sheet, frame: Frame, head: Row, widths: list[float]) -> None:
        self.sheet = sheet
        self.frame = frame
        self.head = head
        self.widths = widths
        self.head_cells = self._wrapped(head)
        # A head that would fill much of every page is a row like others.
        self.repeats_head = _height(self.head_cells) < self._page_height() / 4

    def draw_head(self) -> None:
        if self.repeats_head:
            # The head and one line below it, at least.
            self.sheet.ensure(_height(self.head_cells) + _ONE_LINE_ROW)
            self._draw_lines(self.head_cells, self.head, last=True, shade=True)
        else:
            self.draw_row(self.head)

    def draw_row(self, row: Row) -> None:
        cells = self._wrapped(row)
        if _height(cells) <= self._page_height() / 2 and _height(cells) > self.sheet.room():
            self._next_page()
        while any(cells):
            if self.sheet.room() < _ONE_LINE_ROW:
                self._next_page()
            fitting = int((self.sheet.room() - 2 * theme.CELL_PADDING) / CELL.height + 1e-6)
            rest = [lines[fitting:] for lines in cells]
            self._draw_lines([lines[:fitting] for lines in cells], row, last=not any(rest))
            cells = rest

    def _next_page(self) -> None:
        self.sheet.new_page()
        if self.repeats_head:
            self._draw_lines(self.head_cells, self.head, last=True, shade=True)

    def _page_height(self) -> float:
        return self.sheet.bottom - theme.MARGIN_TOP

    def _wrapped(self, row: Row) -> list[list[Line]]:
        pairs = zip(row, self.widths, strict=True)
        # An empty cell is one empty line, so that an empty row is a row.
        return [self.sheet.wrap(cell.runs, width - 2 * theme.CELL_PADDING, CELL) or [()] for cell, width in pairs]

    def _draw_lines(self, cells: list[list[Line]], row: Row, *, last: bool, shade: bool = False) -> None:
        sheet, left, height = self.sheet, self.frame.left, _height(cells)
        if shade:
            sheet.rect(left, sheet.y, sum(self.widths), height, theme.SHADE)
        for lines, cell, width in zip(cells, row, self.widths, strict=True):
            column = Frame(left + theme.CELL_PADDING, width - 2 * theme.CELL_PADDING)
            for number, line in enumerate(lines):
                y = sheet.y + theme.CELL_PADDING + number * CELL.height
                sheet.aligned(line, column, y, CELL, cell.align)
            left += width
        sheet.advance(height, self.frame)
        if last:
            sheet.rect(self.frame.left, sheet.y - 0.1, sum(self.widths), 0.2, theme.RULE)


_ONE_LINE_ROW = CELL.height + 2 * theme.CELL_PADDING
"""The height of a row of one line."""


def _height(cells: list[list[Line]]) -> float:
    return max(map(len, cells)) * CELL.height + 2 * theme.CELL_PADDING
