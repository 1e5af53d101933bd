"""Draws figures as bars, in SVG: no library, and text that a diff can read."""

from collections.abc import Sequence
from html import escape

WIDTH, ROW, LEFT = 900, 22, 380
FONT = 'font-family="sans-serif" font-size="13"'


def bars(title: str, rows: Sequence[tuple[str, float]], unit: str) -> str:
    """Return an SVG document with a bar for each (name, value); ours, which begin with `Minutehand`, stand out."""
    most = max((value for _, value in rows), default=1) or 1
    height = ROW * (len(rows) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" {FONT}>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="8" y="{ROW - 6}" font-weight="bold">{escape(title)}</text>',
    ]
    for at, (name, value) in enumerate(rows, 1):
        y = ROW * at + 6
        length = max(1, round((WIDTH - LEFT - 110) * value / most))
        color = "#0b7285" if name.startswith("Minutehand") else "#adb5bd"
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y + 3}" width="{length}" height="{ROW - 7}" fill="{color}"/>',
            f'<text x="{LEFT + length + 6}" y="{y + 14}">{value:,.0f} {escape(unit)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
