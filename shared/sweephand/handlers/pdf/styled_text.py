"""Reads inline Markdown as runs: stretches of text in one style."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

_LINKED = re.compile(r"(https?|mailto):[\x21-\x7e]+\Z", re.IGNORECASE)
MAX_LINK = 2000
"""The longest address that a link may have, in characters. With a longer one its text is printed alone."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a run looks. `link` is the address that it opens, or an empty text."""

    bold: bool = False
    italic: bool = False
    mono: bool = False
    strike: bool = False
    link: str = ""

    @property
    def font(self) -> tuple[str, str]:
        """The font's family and style, in fpdf2's names."""
        return ("mono", "") if self.mono else ("sans", "B" * self.bold + "I" * self.italic)


@dataclass(frozen=True, slots=True)
class Run:
    """Text in one style. A newline in it breaks the line."""

    text: str
    style: Style


def inline_tokens(node: SyntaxTreeNode) -> list[Token]:
    """Return the inline tokens of the block `node`, without those of blocks inside it."""
    return [token for part in node.children if part.token for token in part.token.children or []]


def read_runs(tokens: Iterable[Token], base: Style) -> list[Run]:
    """Return the runs of `tokens`, whose marks change the style `base`.

    An image becomes its description: nothing is fetched. Only http, https and mailto links can be opened.
    """
    stack = [base]
    runs = []
    for token in tokens:
        if token.nesting > 0:
            stack.append(_style_within(token, stack[-1]))
        elif token.nesting < 0:
            stack.pop()
        else:
            runs.append(_read_leaf(token, stack[-1]))
    return runs


def _style_within(token: Token, style: Style) -> Style:
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


def _read_leaf(token: Token, style: Style) -> Run:
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
    """Return `text` composed (NFC), without control characters and lone surrogates, which no font has."""
    kept = (char for char in unicodedata.normalize("NFC", text.expandtabs(4)) if not _is_dropped(char))
    return "".join(kept)


def _is_dropped(char: str) -> bool:
    return char not in "\t\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs")
