"""Blocks of Markdown, drawn in order."""

from collections.abc import Sequence

from markdown_it.tree import SyntaxTreeNode

from sweephand.handlers.pdf import theme
from sweephand.handlers.pdf.inline import Run, Style, inline_tokens, printable, read_runs
from sweephand.handlers.pdf.sheet import Frame, Sheet
from sweephand.handlers.pdf.table import draw_table
from sweephand.handlers.pdf.theme import BODY, CODE, Face
from sweephand.handlers.pdf.wrap import wrap_code

BULLETS = "•◦▪"
_MONO = Style(mono=True)


def draw_blocks(nodes: Sequence[SyntaxTreeNode], sheet: Sheet, frame: Frame, gap: float = theme.GAP) -> None:
    """Draw `nodes` below each other in `frame`, `gap` millimetres apart."""
    for index, node in enumerate(nodes):
        if index:
            sheet.gap(gap, frame)
        _draw_block(node, sheet, frame)


def _draw_block(node: SyntaxTreeNode, sheet: Sheet, frame: Frame) -> None:
    if node.type == "heading":
        _draw_heading(node, sheet, frame)
    elif node.type == "paragraph":
        sheet.lines(sheet.wrap(read_runs(inline_tokens(node), Style()), frame.width, BODY), frame, BODY)
    elif node.type in ("bullet_list", "ordered_list"):
        _draw_list(node, sheet, frame)
    elif node.type == "blockquote":
        draw_blocks(node.children, sheet, frame.indented(theme.QUOTE_INDENT, bar=True))
    elif node.type in ("fence", "code_block"):
        _draw_code(node.content, sheet, frame)
    elif node.type == "table":
        draw_table(node, sheet, frame)
        # Its last line is a rule, and rules want more air than text does.
        sheet.gap(theme.GAP / 2, frame)
    elif node.type == "hr":
        _draw_rule(sheet, frame)
    else:
        # The parser is set up in `document`; a block that this file does not know is a mistake in it.
        raise NotImplementedError(f"no way to draw {node.type}")


def _draw_heading(node: SyntaxTreeNode, sheet: Sheet, frame: Frame) -> None:
    level = int(node.tag[1])
    face = theme.HEADINGS[level - 1]
    runs = read_runs(inline_tokens(node), Style(bold=True))
    lines = sheet.wrap(runs, frame.width, face)
    sheet.gap(face.height * 0.35, frame)
    # A heading stays with the two lines below it.
    sheet.ensure(face.height * min(len(lines), 3) + 2 * BODY.height + theme.GAP)
    name = " ".join("".join(run.text for run in runs).split())
    if name:
        sheet.bookmark(name[:200], level - 1)
    sheet.lines(lines, frame, face)


def _draw_list(node: SyntaxTreeNode, sheet: Sheet, frame: Frame) -> None:
    ordered = node.type == "ordered_list"
    first = int(node.attrGet("start") or 1) if ordered else 0
    if node.attrGet("start") == 0:
        first = 0
    indent = theme.INDENT
    if ordered:
        last = f"{first + len(node.children) - 1}."
        indent = max(indent, sheet.measure(last, Style(), BODY) + 2.5)
    gap = 1.0 if _is_tight(node) else theme.GAP
    for index, item in enumerate(node.children):
        if index:
            sheet.gap(gap, frame)
        mark = f"{first + index}." if ordered else BULLETS[(_depth(node) - 1) % len(BULLETS)]
        _draw_item(item, mark, sheet, frame, frame.indented(indent), gap)


def _draw_item(  # noqa: PLR0913, PLR0917 - the item, its mark, and where both go
    item: SyntaxTreeNode, mark: str, sheet: Sheet, outer: Frame, inner: Frame, gap: float
) -> None:
    # The mark is drawn first: what it stands beside must not begin on the next page.
    sheet.ensure(_first_height(item))
    page, y = sheet.pages, sheet.y
    line = sheet.wrap([Run(mark, Style())], sheet.frame.width, BODY)[0]
    if inner.left > outer.left:
        beside = Frame(outer.left, inner.left - outer.left - 2.0)
        sheet.aligned(line, beside, y, BODY, "right")
    draw_blocks(item.children, sheet, inner, gap)
    if (sheet.pages, sheet.y) == (page, y):
        sheet.advance(BODY.height, outer)


def _first_height(item: SyntaxTreeNode) -> float:
    """Return the height that the beginning of `item` needs to stand on one page."""
    first = item.children[0] if item.children else None
    return BODY.height if first is None or first.type == "paragraph" else 4 * BODY.height


def _is_tight(node: SyntaxTreeNode) -> bool:
    return any(block.type == "paragraph" and block.hidden for item in node.children for block in item.children)


def _depth(node: SyntaxTreeNode) -> int:
    depth, above = 1, node.parent
    while above is not None:
        depth += above.type == "bullet_list"
        above = above.parent
    return depth


def _draw_code(content: str, sheet: Sheet, frame: Frame) -> None:
    def measure(text: str, style: Style) -> float:
        return sheet.measure(text, style, CODE)

    lines = wrap_code(printable(content.rstrip("\n")), _MONO, frame.width - 2 * theme.CODE_PADDING, measure)
    sheet.ensure(_beginning(len(lines), CODE) + 2 * theme.CODE_PADDING)
    sheet.strip(theme.CODE_PADDING, frame)
    sheet.lines(lines, frame, CODE, shade=True)
    sheet.strip(theme.CODE_PADDING, frame)


def _beginning(lines: int, face: Face) -> float:
    return min(lines, 3) * face.height


def _draw_rule(sheet: Sheet, frame: Frame) -> None:
    sheet.ensure(BODY.height)
    sheet.rect(frame.left, sheet.y + BODY.height / 2, frame.width, 0.3, theme.RULE)
    sheet.advance(BODY.height, frame)
