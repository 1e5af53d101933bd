"""Draws the blocks of Markdown, one below the other."""

from collections.abc import Sequence

from markdown_it.tree import SyntaxTreeNode

from sweephand.handlers.pdf import theme
from sweephand.handlers.pdf.canvas import Canvas, Frame
from sweephand.handlers.pdf.line_breaking import wrap_code
from sweephand.handlers.pdf.styled_text import Run, Style, inline_tokens, printable, read_runs
from sweephand.handlers.pdf.table import draw_table
from sweephand.handlers.pdf.theme import BODY, CODE, Face

BULLETS = "•◦▪"
_MONO = Style(mono=True)


def draw_blocks(nodes: Sequence[SyntaxTreeNode], canvas: Canvas, frame: Frame, gap: float = theme.GAP) -> None:
    """Draw `nodes` below each other in `frame`, `gap` millimetres apart."""
    for index, node in enumerate(nodes):
        if index:
            canvas.gap(gap, frame)
        _draw_block(node, canvas, frame)


def _draw_block(node: SyntaxTreeNode, canvas: Canvas, frame: Frame) -> None:
    if node.type == "heading":
        _draw_heading(node, canvas, frame)
    elif node.type == "paragraph":
        canvas.draw_lines(canvas.wrap(read_runs(inline_tokens(node), Style()), frame.width, BODY), frame, BODY)
    elif node.type in ("bullet_list", "ordered_list"):
        _draw_list(node, canvas, frame)
    elif node.type == "blockquote":
        draw_blocks(node.children, canvas, frame.indented(theme.QUOTE_INDENT, bar=True))
    elif node.type in ("fence", "code_block"):
        _draw_code(node.content, canvas, frame)
    elif node.type == "table":
        draw_table(node, canvas, frame)
        # A table ends with a rule, which needs a wider gap than text does.
        canvas.gap(theme.GAP / 2, frame)
    elif node.type == "hr":
        _draw_rule(canvas, frame)
    else:
        # `document` enables the parser's blocks. Reaching this line means that this file lacks one of them.
        raise NotImplementedError(f"no way to draw {node.type}")


def _draw_heading(node: SyntaxTreeNode, canvas: Canvas, frame: Frame) -> None:
    level = int(node.tag[1])
    face = theme.HEADINGS[level - 1]
    runs = read_runs(inline_tokens(node), Style(bold=True))
    lines = canvas.wrap(runs, frame.width, face)
    canvas.gap(face.height * 0.35, frame)
    # A heading stays on one page with the two lines below it.
    canvas.ensure(face.height * min(len(lines), 3) + 2 * BODY.height + theme.GAP)
    name = " ".join("".join(run.text for run in runs).split())
    if name:
        canvas.bookmark(name[:200], level - 1)
    canvas.draw_lines(lines, frame, face)


def _draw_list(node: SyntaxTreeNode, canvas: Canvas, frame: Frame) -> None:
    ordered = node.type == "ordered_list"
    first = int(node.attrGet("start") or 1) if ordered else 0
    if node.attrGet("start") == 0:
        first = 0
    indent = theme.INDENT
    if ordered:
        last = f"{first + len(node.children) - 1}."
        indent = max(indent, canvas.measure(last, Style(), BODY) + 2.5)
    gap = 1.0 if _is_tight(node) else theme.GAP
    for index, item in enumerate(node.children):
        if index:
            canvas.gap(gap, frame)
        mark = f"{first + index}." if ordered else BULLETS[(_depth(node) - 1) % len(BULLETS)]
        _draw_item(item, mark, canvas, frame, frame.indented(indent), gap)


def _draw_item(  # noqa: PLR0913, PLR0917 - the item, its mark, and the places of both
    item: SyntaxTreeNode, mark: str, canvas: Canvas, outer: Frame, inner: Frame, gap: float
) -> None:
    # The mark is drawn first, so its item must begin on the same page.
    canvas.ensure(_first_height(item))
    page, y = canvas.pages, canvas.y
    line = canvas.wrap([Run(mark, Style())], canvas.frame.width, BODY)[0]
    if inner.left > outer.left:
        beside = Frame(outer.left, inner.left - outer.left - 2.0)
        canvas.draw_aligned(line, beside, y, BODY, "right")
    draw_blocks(item.children, canvas, inner, gap)
    if (canvas.pages, canvas.y) == (page, y):
        canvas.advance(BODY.height, outer)


def _first_height(item: SyntaxTreeNode) -> float:
    """Return the height that must be left on a page for `item` to begin there."""
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


def _draw_code(content: str, canvas: Canvas, frame: Frame) -> None:
    def measure(text: str, style: Style) -> float:
        return canvas.measure(text, style, CODE)

    lines = wrap_code(printable(content.rstrip("\n")), _MONO, frame.width - 2 * theme.CODE_PADDING, measure)
    canvas.ensure(_beginning(len(lines), CODE) + 2 * theme.CODE_PADDING)
    canvas.draw_code_edge(theme.CODE_PADDING, frame)
    canvas.draw_lines(lines, frame, CODE, shade=True)
    canvas.draw_code_edge(theme.CODE_PADDING, frame)


def _beginning(lines: int, face: Face) -> float:
    return min(lines, 3) * face.height


def _draw_rule(canvas: Canvas, frame: Frame) -> None:
    canvas.ensure(BODY.height)
    canvas.fill(frame.left, canvas.y + BODY.height / 2, frame.width, 0.3, theme.RULE)
    canvas.advance(BODY.height, frame)
