"""Markdown tables of what is measured beside the main figures: age, confidence, load, judge. Pure.

Each is empty where nothing was measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from train.compare.report import rounded

Report = Mapping[str, Any]
NO_BREAK_EVEN = (
    "Break-even: against the recommended arm, none that costs more to make is cheaper to run."
)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """`0.52 (0.41 to 0.63)`."""
    if value is None or interval is None:
        return rounded(value)
    return f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"


def quantiles(latency: Mapping[str, Any], stage: str = "total") -> str:
    """`120 / 340 / 410`: p50, p95 and p99 of a stage in milliseconds; `-` where it has none."""
    own = latency.get(stage)
    return " / ".join(f"{own[q]:.0f}" for q in ("p50", "p95", "p99")) if own else "-"


def judge_table(report: Report) -> list[str]:
    """What the judge said, and of how many answers it said nothing that counts."""
    if not report["judge"]:
        return []
    settings = report["config"]["judge"]
    rows = [
        [
            f"`{arm}`",
            with_interval(own["right"], own["ci95"]),
            str(own["asked"]),
            str(own["unreadable"]),
            str(own["failed"]),
            rounded(own["agrees_with_f1"]),
        ]
        for arm, own in report["judge"].items()
    ]
    said = (
        f"Right by meaning, as {settings['model']} says. *No verdict*: replies that were not the "
        "JSON object asked for; *no reply*: the endpoint failed. Both are left out of the share."
    )
    header = ["arm", "judged right", "sent", "no verdict", "no reply", "agrees with F1 >= 0.5"]
    return [said, "", *table(header, rows)]


def ages_table(report: Report) -> list[str]:
    """Token F1 by how old the golden documents are."""
    ages = report["ages"]
    if len(ages["groups"]) < 2:
        return []
    rows = []
    for group in ages["groups"]:
        own = [by_group.get(group, {}) for by_group in ages["arms"].values()]
        n = next(figures["n"] for figures in own if figures)
        rows.append([group, str(n), *(rounded(figures.get("token_f1")) for figures in own)])
    return table([age_title(report), "n", *(f"`{arm}`" for arm in ages["arms"])], rows)


def age_title(report: Report) -> str:
    """What the groups are made by."""
    if report["ages"]["by"] == "version":
        return "last written in knowledge base version"
    return f"{report['config']['date_field']} of the newest golden document"


def confidence_table(report: Report) -> list[str]:
    """How well the model's own probability tells right answers from wrong ones."""
    rows = [
        [
            f"`{name}`",
            str(own["n"]),
            rounded(own["bins"][0]["confidence"]) + ": " + rounded(own["bins"][0]["right"]),
            rounded(own["bins"][-1]["confidence"]) + ": " + rounded(own["bins"][-1]["right"]),
            rounded(own["ranking"]),
            rounded(own["gap"]),
        ]
        for name, arm in report["arms"].items()
        if (own := arm["confidence"])
    ]
    if not rows:
        return []
    said = (
        "Confidence is the mean probability of the tokens written; right is token F1 >= 0.5. "
        "*Ranking*: the chance that a right answer was surer than a wrong one (0.5: confidence "
        "says nothing). *Gap*: mean distance between confidence and share right."
    )
    header = ["arm", "n", "least sure: right", "surest: right", "ranking", "gap"]
    return [said, "", *table(header, rows)]


def load_table(report: Report) -> list[str]:
    """Latency of each stage under the stated load."""
    load = report["load"]
    if not load:
        return []
    rows = [
        [
            f"`{name}`",
            quantiles(own["latency_ms"]),
            *(quantiles(own["latency_ms"], stage) for stage in ("wait", "retrieve", "generate")),
            rounded(own["answers_per_s"]),
        ]
        for name, own in load["arms"].items()
    ]
    header = ["arm", "total", "waiting", "search", "write", "answers a second"]
    return [load_note(report), "", *table(header, rows)]


def load_note(report: Report) -> str:
    """The load, in words."""
    load = report["load"]
    return (
        f"p50 / p95 / p99 in milliseconds. {load['clients']} clients, each asking its next "
        f"question as soon as the last is answered, {load['n']} questions an arm; "
        f"{load['workers']} worker processes that answer one question at a time, by the answering "
        "path of the service but without HTTP and without its batches."
    )


def taught_note(report: Report) -> str:
    """What the adapters were told of the update; empty where there was nothing to tell."""
    taught = report["update"]["taught"]
    adapted = [f"`{name}`" for name, arm in report["arms"].items() if arm["adapter"]]
    if not taught or not adapted:
        return ""
    return (
        f"{taught} facts of the update, as they were before it, were among the examples that "
        f"{', '.join(adapted)} learned: staleness can only be seen of what was known. Before the "
        "update these arms are therefore asked what they were taught."
    )


def shown_break_even(report: Report) -> list[dict[str, Any]]:
    """The volumes that concern the recommended arm; report.json has those between all arms."""
    arm = report["advice"]["arm"]
    return [found for found in report["break_even"] if arm in (None, found["from"], found["to"])]
