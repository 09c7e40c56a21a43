"""Counters of what became of the answers, by adapter: what a canary is judged by.

They are Ray's metrics, so Prometheus finds the sum over all replicas at the cluster's own endpoint.
"""

from collections import Counter as Tally
from collections.abc import Callable
from typing import Any

from rayraft.records import Answer

ANSWERS = "rayraft_answers"
CLIPPED = "rayraft_router_clipped_features"


class OutcomeCounters:
    """Counts answers.

    Args:
        make: Makes a counter of a name, a description and tag keys, as `ray.util.metrics.Counter`.
    """

    def __init__(self, make: Callable[..., Any]) -> None:
        self._answers = make(
            ANSWERS, description="Answers by outcome.", tag_keys=("mode", "adapter", "outcome")
        )
        self._clipped = make(
            CLIPPED, description="Features outside the router's range.", tag_keys=("feature",)
        )
        self.seen: Tally[tuple[str, str, str]] = Tally()
        """Mode, adapter, outcome -> answers of this replica."""

    def answered(self, answer: Answer) -> None:
        """Counts one answer, and the features that its router had to clip."""
        self._count(answer.mode, answer.adapter, outcome_of(answer))
        for feature in answer.routing.clipped:
            self._clipped.inc(tags={"feature": feature})

    def failed(self, mode: str, adapter: str | None) -> None:
        """Counts an answer that did not come about."""
        self._count(mode, adapter, "failed")

    def _count(self, mode: str, adapter: str | None, outcome: str) -> None:
        tags = {"mode": mode, "adapter": adapter or "none", "outcome": outcome}
        self._answers.inc(tags=tags)
        self.seen[tags["mode"], tags["adapter"], outcome] += 1


def outcome_of(answer: Answer) -> str:
    """`abstained`, `cited` (a quote stands in a passage) or `uncited`."""
    if answer.abstained:
        return "abstained"
    return "cited" if answer.citations else "uncited"
