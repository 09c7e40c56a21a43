"""The demo's closing table: modes x quality, latency, staleness."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

CAPTION = (
    "F1: tokens, with its 95 % interval; EM: exact match; abstain: F1 of abstaining; "
    "old F1, new F1: on the facts that the update changes, before it and right after it."
)
"""Short headers, so that the table fits into 80 columns."""

Modes = Mapping[str, Mapping[str, Any]]
"""`modes` of an evaluation's report.json."""


def result_table(before: Modes, was: Modes, changed: Modes) -> Table:
    """One line a mode.

    Args:
        before: Results on the corpus's questions, before anything changed.
        was: Results on the questions whose answers the update will change, before it.
        changed: Results on the questions whose answers the update changed, right after it.
    """
    table = Table(
        title="Result",
        title_justify="left",
        caption=CAPTION,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for header in ("mode", "F1", "95 %", "EM", "recall", "abstain", "p50 ms"):
        table.add_column(header, justify="left" if header == "mode" else "right", no_wrap=True)
    table.add_column("old F1", justify="right", no_wrap=True)
    table.add_column("new F1", justify="right", style="bold", no_wrap=True)
    for mode, result in before.items():
        latency = result.get("latency_ms", {})
        table.add_row(
            mode,
            figure(result.get("token_f1")),
            interval(result.get("ci95", {}).get("token_f1")),
            figure(result.get("exact_match")),
            figure(result.get("recall_at_k")),
            figure(result.get("abstention_f1")),
            milliseconds(latency.get("p50")),
            figure(was.get(mode, {}).get("token_f1")),
            figure(changed.get(mode, {}).get("token_f1")),
        )
    return table


def figure(value: float | None) -> str:
    """A fraction with two decimals; `-` where it was not measured."""
    return "-" if value is None else f"{value:.2f}"


def milliseconds(value: float | None) -> str:
    """Whole milliseconds; `-` where they were not measured."""
    return "-" if value is None else f"{value:.0f}"


def interval(bounds: Any) -> str:
    """`low-high` of a pair; `-` where it was not measured."""
    if not isinstance(bounds, list | tuple) or len(bounds) != 2:
        return "-"
    return f"{figure(bounds[0])}-{figure(bounds[1])}"
