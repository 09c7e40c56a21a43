"""Pictures as inline SVG, without a script: points with intervals, bars in groups, lines. Pure.

Colours are CSS classes (`s0`, `s1`, ...; a series has the same one in every picture), so that the
page decides them for light, dark and paper. Text is escaped here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 46
COLOURS = 9
_APART = 5.0
"""Pixels between the lines of two series with the same values."""
_CHAR = 6.4
"""Width of a small letter, for labels that must not overlap."""


@dataclass(frozen=True)
class Point:
    """One mark with its interval."""

    x: float
    y: float
    low: float
    high: float
    label: str
    colour: int


@dataclass(frozen=True)
class Series:
    """One line or one bar of each group; None where nothing was measured."""

    label: str
    colour: int
    values: Sequence[float | None]
    intervals: Sequence[Sequence[float] | None] = ()


@dataclass(frozen=True)
class Curve:
    """Points of one series over a continuous x, both 0 to 1, in the order of x."""

    label: str
    colour: int
    points: Sequence[tuple[float, float]]


def scatter(points: Sequence[Point], x_title: str, y_title: str) -> str:
    """Points with vertical intervals over a logarithmic x axis; y is 0 to 1."""
    positive = [point.x for point in points if point.x > 0]
    least, most = (min(positive), max(positive)) if positive else (1.0, 10.0)
    low, high = np.log10(least) - 0.15, np.log10(most) + 0.35
    marks = [_frame(x_title, y_title)]
    for power in range(int(np.floor(low)), int(np.ceil(high)) + 1):
        for digit in (1, 2, 5):
            at = power + np.log10(digit)
            if low <= at <= high:
                x = _across((at - low) / (high - low))
                marks.append(_tick_x(x, f"{digit * 10.0**power:g}"))
    placed: list[float] = []
    places = [
        (_across((np.log10(max(p.x, least)) - low) / (high - low)), _down(p.y), p) for p in points
    ]
    for x, y, point in sorted(places, key=lambda place: place[1]):
        text_y = _free(y, placed)
        placed.append(text_y)
        # To the right of every mark that stands beside it, so that none covers the name.
        near = [x1 for x1, y1, _ in places if abs(x1 - x) < 70 and abs(y1 - text_y) < 20]
        beside = max([x, *near])
        marks += [
            f'<g class="s{point.colour % COLOURS}">',
            _line(x, _down(point.low), x, _down(point.high), "whisker"),
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>',
            f"{_text(beside + 10, text_y + 4, point.label, 'start')}</g>",
        ]
    return _svg(marks, f"{y_title} against {x_title}")


def bars(groups: Sequence[str], series: Sequence[Series], y_title: str) -> str:
    """Bars side by side in groups, with intervals; y is 0 to 1."""
    marks = [_frame("", y_title)]
    step = (WIDTH - LEFT - RIGHT) / max(1, len(groups))
    width = 0.82 * step / max(1, len(series))
    for g, group in enumerate(groups):
        left = LEFT + g * step + 0.09 * step
        marks.append(_tick_x(LEFT + (g + 0.5) * step, _cut(group, step)))
        for s, one in enumerate(series):
            value = one.values[g]
            if value is None:
                continue
            x, y = left + s * width, _down(value)
            height = max(1.0, _down(0) - y)
            marks.append(
                f'<rect class="s{one.colour % COLOURS}" x="{x:.1f}" y="{_down(0) - height:.1f}" '
                f'width="{width * 0.9:.1f}" height="{height:.1f}">'
                f"<title>{escape(f'{one.label}, {group}: {value:.2f}')}</title></rect>"
            )
            interval = one.intervals[g] if one.intervals else None
            if interval is not None:
                middle = x + width * 0.45
                marks.append(_line(middle, _down(interval[0]), middle, _down(interval[1]), "error"))
    return _svg(marks, y_title)


def lines(steps: Sequence[str], series: Sequence[Series], y_title: str, x_title: str = "") -> str:
    """A line a series over steps at equal distances; y is 0 to 1."""
    marks = [_frame(x_title, y_title)]
    gap = (WIDTH - LEFT - RIGHT) / max(1, len(steps))
    xs = [LEFT + (i + 0.5) * gap for i in range(len(steps))]
    marks += [_tick_x(x, _cut(step, gap)) for x, step in zip(xs, steps, strict=True)]
    for i, one in enumerate(series):
        aside = _APART * (i - (len(series) - 1) / 2)  # equal lines stay visible
        found = [(x + aside, v) for x, v in zip(xs, one.values, strict=True) if v is not None]
        path = " ".join(f"{x:.1f},{_down(v):.1f}" for x, v in found)
        dots = "".join(
            f'<circle cx="{x:.1f}" cy="{_down(v):.1f}" r="4">'
            f"<title>{escape(f'{one.label}: {v:.2f}')}</title></circle>"
            for x, v in found
        )
        colour = f"s{one.colour % COLOURS}"
        marks.append(f'<g class="{colour}"><polyline class="path" points="{path}"/>{dots}</g>')
    return _svg(marks, y_title)


def reliability(series: Sequence[Curve], x_title: str, y_title: str) -> str:
    """Curves of what came true over what was claimed, with the line on which both are equal."""
    claimed = [x for one in series for x, _ in one.points]
    least = np.floor(10 * min(claimed, default=0.0)) / 10
    least = float(min(least, 0.9))

    def across(x: float) -> float:
        return _across((x - least) / (1 - least))

    marks = [_frame(x_title, y_title)]
    ticks = np.linspace(least, 1.0, 6)
    marks += [_tick_x(_across(i / 5), f"{tick:.2g}") for i, tick in enumerate(ticks)]
    marks.append(_line(across(least), _down(least), across(1.0), _down(1.0), "equal"))
    for one in series:
        path = " ".join(f"{across(x):.1f},{_down(y):.1f}" for x, y in one.points)
        dots = "".join(
            f'<circle cx="{across(x):.1f}" cy="{_down(y):.1f}" r="4">'
            f"<title>{escape(f'{one.label}: said {x:.2f}, right {y:.2f}')}</title></circle>"
            for x, y in one.points
        )
        colour = f"s{one.colour % COLOURS}"
        marks.append(f'<g class="{colour}"><polyline class="path" points="{path}"/>{dots}</g>')
    return _svg(marks, f"{y_title} against {x_title}")


def legend(names: Mapping[str, int]) -> str:
    """What each colour stands for."""
    items = [
        f'<li><svg width="12" height="12" aria-hidden="true"><rect class="s{colour % COLOURS}" '
        f'width="12" height="12"/></svg> {escape(name)}</li>'
        for name, colour in names.items()
    ]
    return f'<ul class="legend">{"".join(items)}</ul>'


def _frame(x_title: str, y_title: str) -> str:
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _down(share)
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y, "grid"))
        parts.append(_text(LEFT - 7, y + 4, f"{share:g}", "end"))
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 6, x_title, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text transform="translate(13 {middle:.1f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_title)}</text>"
    )
    return "".join(parts)


def _svg(marks: Sequence[str], title: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title, quote=True)}">{"".join(marks)}</svg>'
    )


def _free(y: float, taken: Sequence[float]) -> float:
    """The nearest place below that is a line's height away from all others."""
    while any(abs(y - other) < 13 for other in taken):
        y += 3
    return y


def _across(share: float) -> float:
    return float(LEFT + share * (WIDTH - LEFT - RIGHT))


def _down(share: float) -> float:
    return float(TOP + (1 - min(1.0, max(0.0, share))) * (HEIGHT - TOP - BOTTOM))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _tick_x(x: float, text: str) -> str:
    return (
        f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">'
        f"{escape(text)}</text>"
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _cut(text: str, width: float) -> str:
    most = max(3, int(width / _CHAR))
    return text if len(text) <= most else text[: most - 1] + "…"
