"""The loss curve as an SVG picture that every browser shows.

Two lines and two axes: not worth a plotting library (matplotlib and what it needs are 60 MB) in an
installation that runs on every worker.
"""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

Points = list[tuple[float, float]]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 64, 16, 40, 44
COLOURS = {"loss": "#9aa5b1", "validation_loss": "#d9480f"}


def curve_svg(curve: Sequence[dict[str, float]], title: str) -> str:
    """Training and validation loss over the steps; points without a finite loss are left out."""
    lines = {
        name: [(p["step"], p[name]) for p in curve if math.isfinite(p.get(name, math.nan))]
        for name in COLOURS
    }
    everything = [point for line in lines.values() for point in line]
    steps = [0.0, *(step for step, _ in everything)]
    losses = [loss for _, loss in everything] or [0.0]
    x_ticks, y_ticks = ticks(0.0, max(steps)), ticks(min(losses), max(losses))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#495057">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" fill="#212529">{escape(title)}</text>',
    ]
    for tick in y_ticks:
        y = _at(tick, y_ticks, HEIGHT - BOTTOM, TOP)
        parts.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#e9ecef"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    for tick in x_ticks:
        x = _at(tick, x_ticks, LEFT, WIDTH - RIGHT)
        parts.append(f'<text x="{x}" y="{HEIGHT - 24}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">step</text>')
    for position, (name, line) in enumerate(lines.items()):
        if line:
            parts += _line(name, line, x_ticks, y_ticks)
            words = name.replace("_", " ")
            x = WIDTH - RIGHT - 110 * (len(lines) - position)
            parts.append(f'<text x="{x}" y="22" fill="{COLOURS[name]}">{words}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers from at most `low` to at least `high`, about so many of them."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / about))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda s: abs(span / s - about))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def _line(name: str, line: Points, x_ticks: list[float], y_ticks: list[float]) -> list[str]:
    places = [
        (_at(x, x_ticks, LEFT, WIDTH - RIGHT), _at(y, y_ticks, HEIGHT - BOTTOM, TOP))
        for x, y in line
    ]
    path = " ".join(f"{x},{y}" for x, y in places)
    drawn = f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>'
    dots = places if name == "validation_loss" or len(places) == 1 else []
    return [drawn, *(f'<circle cx="{x}" cy="{y}" r="3" fill="{COLOURS[name]}"/>' for x, y in dots)]


def _at(value: float, scale: list[float], start: float, end: float) -> float:
    return round(start + (value - scale[0]) / (scale[-1] - scale[0]) * (end - start), 1)
