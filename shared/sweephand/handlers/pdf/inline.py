"""Inline Markdown to runs: stretches of text in one style."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

_LINKED = re.compile(r"(https?|mailto):[\x21-\x7e]+\Z", re.IGNORECASE)
MAX_LINK = 2000
"""A longer address is printed as text only; in characters."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a run is set. `link` is an address that a reader may open, or nothing."""

    bold: bool = False
    italic: bool = False
    mono: bool = False
    strike: bool = False
    link: str = ""

    @property
    def font(self) -> tuple[str, str]:
        """The family and the style that fpdf2 knows the font by."""
        return ("mono", "") if self.mono else ("sans", "B" * self.bold + "I" * self.italic)


@dataclass(frozen=True, slots=True)
class Run:
    """Some text in one style; a newline in it is a line break."""

    text: str
    style: Style


def inline_tokens(node: SyntaxTreeNode) -> list[Token]:
    """Return the inline tokens that stand directly in the block `node`."""
    return [token for part in node.children if part.token for token in part.token.children or []]


def read_runs(tokens: Iterable[Token], base: Style) -> list[Run]:
    """Return the runs of an inline token's children, on top of the style `base`.

    Images are not fetched: their text stands for them. Links open http, https and mailto alone.
    """
    stack = [base]
    runs = []
    for token in tokens:
        if token.nesting > 0:
            stack.append(_opened(token, stack[-1]))
        elif token.nesting < 0:
            stack.pop()
        else:
            runs.append(_leaf(token, stack[-1]))
    return runs


def _opened(token: Token, style: Style) -> Style:
    name = token.type.removesuffix("_open")
    if name == "link":
        href = str(token.attrGet("href") or "")
        return replace(style, link=href if _LINKED.match(href) and len(href) <= MAX_LINK else "")
    return replace(
        style,
        bold=style.bold or name == "strong",
        italic=style.italic or name == "em",
        strike=style.strike or name == "s",
    )


def _leaf(token: Token, style: Style) -> Run:
    if token.type == "softbreak":
        return Run(" ", style)
    if token.type == "hardbreak":
        return Run("\n", style)
    if token.type == "code_inline":
        return Run(printable(token.content), replace(style, mono=True))
    if token.type == "image":
        return Run(f"[{printable(token.content) or 'image'}]", replace(style, italic=True))
    return Run(printable(token.content), style)


def printable(text: str) -> str:
    """Return `text` composed (NFC), without the control characters and lone surrogates that no font draws."""
    kept = (char for char in unicodedata.normalize("NFC", text.expandtabs(4)) if not _is_dropped(char))
    return "".join(kept)


def _is_dropped(char: str) -> bool:
    return char not in "\t\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs")
