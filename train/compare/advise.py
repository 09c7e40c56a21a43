"""Advice before any training, from a small sample answered by the base model. Pure.

Four figures are measured: what the base model knows by heart, what it answers with retrieved
passages, what it would answer with the golden passages, and what retrieval finds. Training can at
most close the gap above the third; better retrieval at most the one between the second and the
third. The advice names the larger gap, and says which needs decide whatever the quality.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from train.compare.config import CompareConfig
from train.compare.figures import arm_figures, defined, mean
from train.compare.needs import Needs
from train.compare.rows import ArmRow
from train.compare.tables import table, with_interval

SMALL_GAP = 0.1
"""A gap of less token F1 is not worth work."""
WEAK_RECALL = 0.8
"""Below this recall@k, what retrieval misses decides more than who reads."""
STEP_OVER_ANSWER = 1.5
"""Seconds of training on a row, as a multiple of an answer's: forward and backward of the prompt
are about three times its reading, without the writing."""


@dataclass(frozen=True)
class Estimate:
    """What a sample says."""

    n: int
    figures: Mapping[str, Mapping[str, Any]]
    recall: float | None
    advice: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """As Markdown."""
        rows = [
            [
                title,
                with_interval(found["token_f1"], found["ci95"]["token_f1"]),
                f"{found['latency_ms']['total']['p95']:.0f}",
            ]
            for title, found in self.figures.items()
        ]
        recall = "-" if self.recall is None else f"{self.recall:.2f}"
        header = ["base model", "token F1", "p95 ms"]
        return [
            f"{self.n} questions, before any training; recall@k {recall}.",
            "",
            *table(header, rows),
            "",
            *(f"- {line}" for line in self.advice),
        ]


CLOSED, PASSAGES, GOLDEN = "closed book", "retrieved passages", "golden passages"


def estimate(
    rows: Mapping[str, Sequence[ArmRow]],
    searched: Sequence[ArmRow],
    needs: Needs,
    config: CompareConfig,
) -> Estimate:
    """The advice.

    Args:
        rows: Answers of the base model by `CLOSED`, `PASSAGES` and `GOLDEN`.
        searched: Retrieval alone.
        needs: Stated ones.
        config: Of the comparison that would follow.
    """
    figures = {title: arm_figures(own, config.evaluate.seed) for title, own in rows.items()}
    recall = mean(defined(searched, "recall_at_k"))
    advice = [
        _first(figures, recall),
        *_of_needs(figures, needs),
        _cost(figures, config),
        "measure it: `rayraft compare` with the same questions trains and compares all arms",
    ]
    return Estimate(len(rows[CLOSED]), figures, recall, advice)


def _first(figures: Mapping[str, Mapping[str, Any]], recall: float | None) -> str:
    """The larger gap, and what may close it."""
    known, shown, golden = (figures[t]["token_f1"] for t in (CLOSED, PASSAGES, GOLDEN))
    missed, reading = max(0.0, golden - shown), 1.0 - golden
    if known >= max(shown, golden) - SMALL_GAP and known > 0.5:
        return f"the base model knows this by heart ({known:.2f}): start without passages"
    if recall is not None and recall < WEAK_RECALL and missed > SMALL_GAP:
        return (
            f"retrieval first: it finds {recall:.0%} of the golden documents, and perfect "
            f"retrieval would bring {missed:+.2f} token F1; try evaluate.k, "
            "evaluate.retrieval.rerank=20, other chunks"
        )
    if reading > SMALL_GAP:
        return (
            f"try `raft`: even with the golden passages the base model leaves {reading:.2f} token "
            "F1 open, which only training (or a larger model) can bring; retrieval leaves "
            f"{missed:.2f}"
        )
    return f"`rag` is enough: {shown:.2f}, and neither gap is larger than {SMALL_GAP}"


def _of_needs(figures: Mapping[str, Mapping[str, Any]], needs: Needs) -> list[str]:
    said = []
    passages = figures[PASSAGES]["latency_ms"]["total"]["p95"]
    closed = figures[CLOSED]["latency_ms"]["total"]["p95"]
    allowed = needs.latency_p95_ms
    if allowed is not None and passages > allowed:
        way = "a closed-book adapter (`sft`)" if closed <= allowed else "a faster machine"
        said.append(
            f"passages take {passages:.0f} ms at p95, {allowed:g} allowed: fewer passages, or {way}"
        )
    if needs.right_within_s is not None:
        said.append(
            f"documents change and answers must follow ({needs.freshness}): a mode that reads "
            "passages; by heart only with a refresh as often"
        )
    if needs.privacy == "strict":
        said.append(
            "strict privacy: weights tell everybody what they learned; train on public documents "
            "only (raft.groups=[], the default), and erase after deletions"
        )
    return said


def _cost(figures: Mapping[str, Mapping[str, Any]], config: CompareConfig) -> str:
    """Very rough: what the two trainings would take on this machine."""
    found = []
    for name, settings, title in (
        ("raft", config.reading, PASSAGES),
        ("sft", config.memory, CLOSED),
    ):
        if settings.max_steps is None:
            continue
        seconds = mean_seconds(figures[title]) * STEP_OVER_ANSWER
        rows = settings.max_steps * settings.global_batch_size
        minutes = rows * seconds / settings.workers.least / 60
        found.append(f"{name} about {minutes:.0f} min for {settings.max_steps} steps")
    return f"training on this machine, roughly: {', '.join(found) or 'set max_steps to be told'}"


def mean_seconds(figures: Mapping[str, Any]) -> float:
    """An answer's seconds at the median."""
    return float(figures["latency_ms"]["total"]["p50"]) / 1000
