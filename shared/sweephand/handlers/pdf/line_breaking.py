"""Cuts runs into lines of a given width."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sweephand.handlers.pdf.styled_text import Run, Style

Measure = Callable[[str, Style], float]
"""Returns the width of a text in a style, in millimetres."""

_PARTS = re.compile(r"\n| +|[^ \n]+")
_SLACK = 1e-6
"""In millimetres: a line that fits exactly must not break because of a rounding error."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a line that has one style."""

    text: str
    style: Style
    width: float


Line = tuple[Piece, ...]


def width_of(line: Iterable[Piece]) -> float:
    """Return the width of `line`, in millimetres."""
    return sum(piece.width for piece in line)


def wrap(runs: Iterable[Run], width: float, measure: Measure) -> list[Line]:
    """Break `runs` at spaces into lines of at most `width` millimetres. A longer word is cut at any character.

    A word stays together also where its style changes in the middle.
    """
    breaker = _LineBreaker(width, measure)
    for run in runs:
        for text in _PARTS.findall(run.text):
            breaker.add(Piece(text, run.style, 0 if text == "\n" else measure(text, run.style)))
    return breaker.finish()


def wrap_code(text: str, style: Style, width: float, measure: Measure) -> list[Line]:
    """Break lines of code at any character, keeping their spaces."""
    lines: list[Line] = []
    for row in text.split("\n"):
        chunks = _cut_at_characters(Piece(row, style, measure(row, style)), width, width, measure)
        lines += [(chunk,) for chunk in chunks] or [()]
    return lines


@dataclass(slots=True)
class _LineBreaker:
    width: float
    measure: Measure
    lines: list[Line] = field(default_factory=list)
    line: list[Piece] = field(default_factory=list)
    used: float = 0.0
    space: Piece | None = None
    word: list[Piece] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        if piece.text == "\n":
            self._end_word()
            self._end_line()
        elif piece.text.startswith(" "):
            self._end_word()
            self.space = piece
        else:
            self.word.append(piece)

    def finish(self) -> list[Line]:
        self._end_word()
        if self.line:
            self._end_line()
        return self.lines

    def _end_word(self) -> None:
        if not self.word:
            return
        wide = width_of(self.word)
        space = self.space if self.line else None
        if self.line and self.used + width_of([space] if space else []) + wide > self.width + _SLACK:
            self._end_line()
            space = None
        if space:
            self._put(space)
        for piece in self.word:
            self._put_in_chunks(piece) if wide > self.width + _SLACK else self._put(piece)
        self.word, self.space = [], None

    def _put_in_chunks(self, piece: Piece) -> None:
        for index, chunk in enumerate(_cut_at_characters(piece, self.width - self.used, self.width, self.measure)):
            if index or self.used + chunk.width > self.width + _SLACK:
                self._end_line()
            self._put(chunk)

    def _put(self, piece: Piece) -> None:
        self.line.append(piece)
        self.used += piece.width

    def _end_line(self) -> None:
        self.lines.append(_merged(self.line))
        self.line, self.used, self.space = [], 0.0, None


def _cut_at_characters(piece: Piece, first: float, width: float, measure: Measure) -> Iterator[Piece]:
    """Cut `piece` into chunks: the first at most `first` wide, the others `width`, each at least one character."""
    text, room, start, used = piece.text, first, 0, 0.0
    if piece.width <= room + _SLACK:
        if text:
            yield piece
        return
    for at, char in enumerate(text):
        wide = measure(char, piece.style)
        if used + wide > room + _SLACK and at > start:
            yield Piece(text[start:at], piece.style, used)
            start, used, room = at, 0.0, width
        used += wide
    yield Piece(text[start:], piece.style, used)


def _merged(line: Sequence[Piece]) -> Line:
    """Join neighbours of one style: that saves drawing commands and keeps words whole when they are copied."""
    merged: list[Piece] = []
    for piece in line:
        if merged and merged[-1].style == piece.style:
            last = merged.pop()
            piece = Piece(last.text + piece.text, piece.style, last.width + piece.width)  # noqa: PLW2901 - grows
        merged.append(piece)
    return tuple(merged)
