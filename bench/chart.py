"""Lines over time, as SVG."""

import math
from pathlib import Path
from typing import Dict, List, Tuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 900, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 50, 50
COLOURS = ("#2458a6", "#b5482a", "#2f7d4f", "#7a4b9e")

Lines = Dict[str, List[Tuple[float, float]]]


def chart(path: Path, title: str, unit: str, lines: Lines) -> None:
    """Writes a chart of lines whose points are seconds and values; values begin at zero."""
    end = max(points[-1][0] for points in lines.values()) or 1.0
    top = _round_up(max(value for points in lines.values() for _, value in points) or 1.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="16">{escape(title)}</text>',
    ]
    for step in range(5):
        value = top * step / 4
        y = _y(value, top)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        at = end * step / 4
        anchor = f'x="{_x(at, end):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle"'
        parts.append(f"<text {anchor}>{at / 60:.3g} min</text>")
    parts.append(f'<text x="{LEFT - 8}" y="{TOP - 10}" text-anchor="end">{escape(unit)}</text>')
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path_data = " ".join(f"{_x(at, end):.1f},{_y(value, top):.1f}" for at, value in points)
        parts.append(f'<polyline points="{path_data}" fill="none" stroke="{colour}"/>')
        x = LEFT + 20 + 160 * number
        parts.append(f'<rect x="{x}" y="{HEIGHT - 18}" width="14" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 20}" y="{HEIGHT - 12}">{escape(name)}</text>')
    path.write_text("\n".join([*parts, "</svg>\n"]))


def _x(at: float, end: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * at / end


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def _round_up(value: float) -> float:
    """The next value that divides well."""
    unit = 10 ** math.floor(math.log10(value))
    return next(unit * factor for factor in (1, 2, 4, 8, 10, 20) if unit * factor >= value)
