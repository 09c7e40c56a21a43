"""The report as one HTML file that needs no network: tables, pictures, answers side by side. Pure.

The page is the Jinja2 template beside this file, with autoescape: questions and answers are other
people's text.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from train.compare.markdown import MEASURES, shown_measures
from train.compare.measured import PHASE_TITLES, PHASES
from train.compare.needs import needs_in_words
from train.compare.report import rounded
from train.compare.svg import Curve, Point, Series, bars, legend, lines, reliability, scatter
from train.compare.tables import (
    NO_BREAK_EVEN,
    age_title,
    load_note,
    quantiles,
    shown_break_even,
    taught_note,
    with_interval,
)

Report = Mapping[str, Any]
TEMPLATE = "report.html.jinja"
DISTRACTORS = "distractors-"


def html(report: Report) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": rounded, "money": _money, "quantiles": quantiles}
    return environment.get_template(TEMPLATE).render(
        report=report,
        measures={name: MEASURES[name] for name in shown_measures(report)},
        with_interval=with_interval,
        needs=needs_in_words(report["needs"], report["config"]["prices"]["currency"]),
        notes={
            "taught": taught_note(report).replace("`", "") if report["update"] else "",
            "load": load_note(report) if report["load"] else "",
        },
        break_even=shown_break_even(report),
        no_break_even=NO_BREAK_EVEN,
        phase_titles=PHASE_TITLES,
        phases=[phase for phase in PHASES if phase in (report["update"] or {}).get("quality", {})],
        pictures=[(title, text, Markup(svg)) for title, text, svg in pictures(report)],
        legend=Markup(legend(_colours(report))),
    )


def pictures(report: Report) -> list[tuple[str, str, str]]:
    """Title, what it shows, and the SVG of each picture that there are figures for."""
    found = [_quality_and_cost(report), _by_kind(report)]
    if report["update"]:
        found.append(_staleness(report))
    if report["robustness"]:
        found += [_distractors(report), _conditions(report)]
    if len(report["ages"]["groups"]) > 1:
        found.append(_by_age(report))
    found.append(_calibration(report))
    if any(arm["confidence"] for arm in report["arms"].values()):
        found.append(_confidence(report))
    return found


def _quality_and_cost(report: Report) -> tuple[str, str, str]:
    points = [
        Point(
            x=arm["mean_seconds"] * 1000,
            y=arm["token_f1"],
            low=arm["ci95"]["token_f1"][0],
            high=arm["ci95"]["token_f1"][1],
            label=name,
            colour=colour,
        )
        for (name, arm), colour in zip(
            report["arms"].items(), _colours(report).values(), strict=True
        )
    ]
    svg = scatter(points, "milliseconds of an answer (mean, one at a time)", "token F1")
    text = "Up is better, left is cheaper: an answer costs the machine for as long as it takes."
    return "Quality against cost", text, svg


def _by_kind(report: Report) -> tuple[str, str, str]:
    kinds = sorted({kind for arm in report["arms"].values() for kind in arm["kinds"]})
    series = []
    for (name, arm), colour in zip(report["arms"].items(), _colours(report).values(), strict=True):
        own = [arm["kinds"].get(kind, {}) for kind in kinds]
        values = [kind.get("token_f1") for kind in own]
        series.append(Series(name, colour, values, [kind.get("ci95") for kind in own]))
    text = "Token F1 with 95% intervals; for questions without an answer, the share abstained."
    return "Quality by kind of question", text, bars([k or "(none)" for k in kinds], series, "F1")


def _by_age(report: Report) -> tuple[str, str, str]:
    ages = report["ages"]
    series = []
    for name, colour in _colours(report).items():
        own = [ages["arms"][name].get(group, {}) for group in ages["groups"]]
        values = [figures.get("token_f1") for figures in own]
        series.append(Series(name, colour, values, [figures.get("ci95") for figures in own]))
    text = f"Grouped by {age_title(report)}, oldest first."
    return "Quality by age of the documents", text, bars(ages["groups"], series, "token F1")


def _staleness(report: Report) -> tuple[str, str, str]:
    quality = report["update"]["quality"]
    phases = [phase for phase in PHASES if phase in quality]
    series = [
        Series(
            name,
            colour,
            [quality[phase][name].get("changed", {}).get("token_f1") for phase in phases],
        )
        for name, colour in _colours(report).items()
    ]
    text = (
        "Facts that the update changes: before it, right after it, once the index of the "
        "passages has followed, and once the adapters were trained on."
    )
    titles = [PHASE_TITLES[phase] for phase in phases]
    return "Staleness", text, lines(titles, series, "token F1")


def _distractors(report: Report) -> tuple[str, str, str]:
    shown = [name for name in report["robustness"] if name.startswith(DISTRACTORS)]
    numbers = [name.removeprefix(DISTRACTORS) for name in shown]
    svg = lines(numbers, _robust(report, shown), "token F1", "other passages shown")
    return "Distractors", "Golden passages among so many others that look alike.", svg


def _conditions(report: Report) -> tuple[str, str, str]:
    shown = [name for name in report["robustness"] if not name.startswith(DISTRACTORS)]
    text = (
        "As asked; with no golden passage among those shown; with one that says something else; "
        "in another order; in other words."
    )
    return "What else is shown", text, bars(shown, _robust(report, shown), "token F1")


def _robust(report: Report, conditions: list[str]) -> list[Series]:
    by_condition = report["robustness"]
    return [
        Series(
            name,
            colour,
            [by_condition[c][name]["token_f1"] for c in conditions],
            [by_condition[c][name]["ci95"] for c in conditions],
        )
        for name, colour in _colours(report).items()
        if all(name in by_condition[c] for c in conditions)
    ]


def _calibration(report: Report) -> tuple[str, str, str]:
    groups = ["quoted", "not quoted", "abstained"]
    series = []
    for name, colour in _colours(report).items():
        said = {group["said"]: group for group in report["arms"][name]["calibration"]}
        own = [said.get(group, {}) for group in groups]
        series.append(
            Series(name, colour, [g.get("right") for g in own], [g.get("ci95") for g in own])
        )
    text = (
        "How right answers are by what the arm says of them: held by a verified quote, not held by "
        "one, or none given. A quote that can be trusted makes the first far higher."
    )
    return "Whether a quote can be trusted", text, bars(groups, series, "token F1")


def _confidence(report: Report) -> tuple[str, str, str]:
    curves = [
        Curve(name, colour, [(b["confidence"], b["right"]) for b in own["bins"]])
        for name, colour in _colours(report).items()
        if (own := report["arms"][name]["confidence"])
    ]
    svg = reliability(
        curves, "how sure the model was (mean probability of its words)", "share right"
    )
    text = (
        "Answers in groups from the least sure to the surest. On the dashed line a model is as "
        "often right as it is sure; below it, it is too sure of itself."
    )
    return "Whether its own confidence can be trusted", text, svg


def _colours(report: Report) -> dict[str, int]:
    return {name: i for i, name in enumerate(report["arms"])}


def _money(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if value < 1 else f"{value:,.2f}"
