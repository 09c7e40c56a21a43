"""What the stages of a comparison bring, as records. Needs neither Ray nor torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from data_pipelines.published_adapters import PublishedAdapter
from rayraft.manifests import Manifest
from train.compare.ages import Ages
from train.compare.arms import Arm
from train.compare.rows import ArmRow

BEFORE, AT_ONCE, AFTER_DELTA, AFTER_REFRESH = PHASES = (
    "before",
    "at_once",
    "after_delta",
    "after_refresh",
)
"""Of an update: see `train.compare.update`."""
PHASE_TITLES = {
    BEFORE: "before it",
    AT_ONCE: "right after it",
    AFTER_DELTA: "index followed",
    AFTER_REFRESH: "adapters refreshed",
}


@dataclass(frozen=True)
class Learned:
    """An adapter of a role, and what it took."""

    adapter: PublishedAdapter
    trained: bool
    """False: a published one was named."""
    examples_seconds: float = 0.0
    """Writing of the examples that both roles share."""
    train_seconds: float = 0.0
    workers: float = 0.0
    """CPUs of the training (GPUs where it had some)."""
    gpus: float = 0.0
    examples: int = 0
    tokens: float = 0.0
    restricted_chunks: int = 0
    """Left out of the examples, because not everybody may read them."""


@dataclass(frozen=True)
class Updated:
    """Rows by phase, and what the changes took."""

    rows: dict[str, list[ArmRow]]
    ingest_seconds: float
    delta_seconds: float
    """Until a running service's index has the change."""
    refreshes: dict[str, dict[str, Any]]
    """Role -> seconds, challenger, whether it was promoted, reasons."""


@dataclass(frozen=True)
class Indexed:
    """The index of the arms that read passages."""

    chunks: int = 0
    embed_seconds: float = 0.0
    """One CPU, all chunks; counted up from a sample."""
    open_seconds: float = 0.0
    """Until a service that starts can search."""


@dataclass(frozen=True)
class Measured:
    """Everything that a report is made of."""

    kb_version: int
    arms: Sequence[Arm]
    rows: Mapping[str, Sequence[ArmRow]]
    """By arm."""
    searched: Sequence[ArmRow]
    learned: Mapping[Any, Learned]
    updated: Updated | None = None
    changes: Mapping[str, str] = field(default_factory=dict)
    """Question id -> changed, appeared or disappeared."""
    robustness: Mapping[str, Any] | None = None
    security: Mapping[str, Any] | None = None
    load: Mapping[str, Any] | None = None
    index: Indexed = Indexed()
    judged: Mapping[str, Any] | None = None
    """By arm, `train.compare.judge.judged_figures`."""
    ages: Ages = field(default_factory=Ages)
    taught: int = 0
    """Facts of the update that the adapters were taught as they were before it."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def training_seconds(manifest: Manifest) -> float:
    """Seconds of all steps, from the curve: so many as were measured when it was trained."""
    seconds, before = 0.0, 0.0
    for point in manifest.curve:
        if "step_s" in point:
            seconds += (point["step"] - before) * point["step_s"]
            before = point["step"]
    return seconds
