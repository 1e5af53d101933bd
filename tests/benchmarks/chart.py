"""Draws figures as bars and as lines, in SVG: no library, and text that a diff can read."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, ROW, LEFT = 900, 22, 380
PANEL, MARGIN = 190, 90
COLORS = ("#0b7285", "#e8590c", "#5f3dc4", "#2b8a3e")
FONT = 'font-family="sans-serif" font-size="13"'


def bars(title: str, rows: Sequence[tuple[str, float]], unit: str) -> str:
    """Return an SVG document with a bar for each (name, value); ours, which begin with `Sweephand`, stand out."""
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
        color = "#0b7285" if name.startswith("Sweephand") else "#adb5bd"
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y + 3}" width="{length}" height="{ROW - 7}" fill="{color}"/>',
            f'<text x="{LEFT + length + 6}" y="{y + 14}">{value:,.0f} {escape(unit)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def lines(title: str, panels: Sequence[tuple[str, Mapping[str, Sequence[float]]]], across: Sequence[float]) -> str:
    """Return an SVG document with a panel for each (name, {series: values}), one below the other; `across` is x."""
    height = PANEL * len(panels) + ROW * 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" {FONT}>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="8" y="{ROW - 6}" font-weight="bold">{escape(title)}</text>',
    ]
    wide, high = WIDTH - MARGIN - 170, PANEL - ROW * 2
    for at, (name, series) in enumerate(panels):
        top = ROW * 2 + PANEL * at
        most = max((value for values in series.values() for value in values), default=1) or 1
        parts += [
            f'<text x="{MARGIN}" y="{top}" font-weight="bold">{escape(name)}</text>',
            f'<text x="{MARGIN - 6}" y="{top + 18}" text-anchor="end">{most:,.0f}</text>',
            f'<text x="{MARGIN - 6}" y="{top + 8 + high}" text-anchor="end">0</text>',
            f'<text x="{MARGIN + wide}" y="{top + 24 + high}" text-anchor="end">minute {across[-1]:.0f}</text>',
            f'<rect x="{MARGIN}" y="{top + 8}" width="{wide}" height="{high}" fill="none" stroke="#ced4da"/>',
        ]
        for (label, values), color in zip(series.items(), COLORS, strict=False):
            points = " ".join(
                f"{MARGIN + wide * x / across[-1]:.1f},{top + 8 + high * (1 - y / most):.1f}"
                for x, y in zip(across, values, strict=True)
            )
            key = top + 24 + 18 * list(series).index(label)
            parts += [
                f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"/>',
                f'<text x="{MARGIN + wide + 8}" y="{key}" fill="{color}">{escape(label)}</text>',
            ]
    return "\n".join([*parts, "</svg>", ""])
