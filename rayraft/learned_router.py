"""A router learned from an evaluation: applied by plain numpy, kept as JSON.

For each arm (a way to answer) it holds a logistic model of its expected quality, calibrated on
questions that the model had not seen, and its mean cost. The policy takes the arm of the highest
`quality - mu x cost`; it leaves the best fixed arm only where another promises more than `margin`.
Knows nothing of how it was fitted, of stores or of models.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from rayraft.arms import Arm, parse_arm
from rayraft.config import explain
from rayraft.errors import ArtifactMismatch, InputError
from rayraft.records import Record
from rayraft.route_features import FEATURES, Features

Floats = npt.NDArray[np.float64]
FORMAT = 1
"""Of the file; another one is refused."""
LEVELS = ("quality", "balanced", "cheap")
MAX_LOGIT = 8.0
"""A forecast of a few hundred questions is never surer than 0.9997."""
TOP_REASONS = 4


class FeatureScale(Record):
    """How one feature is brought into the model's range."""

    name: str
    low: float
    high: float
    """Range of the questions that it was fitted on; values outside are clipped to it."""
    mean: float
    deviation: float = Field(gt=0)
    """A value that is not known counts as the mean."""


class ArmModel(Record):
    """One way to answer: what it costs, and how good it promises to be."""

    label: str
    adapter: str | None = None
    """`name-vN` of the weights that were evaluated, None for the base model."""
    intercept: float
    weights: list[float]
    """Of the scaled features, in their order; log-odds."""
    slope: float = 1.0
    offset: float = 0.0
    """Calibration: the log-odds are `slope x score + offset`."""
    quality: float
    """Mean over the questions."""
    cost: float = Field(ge=0)
    """Mean tokens, with those of a draft, as a share of the dearest fixed mode's."""
    tokens: float = 0.0
    latency_ms: float = 0.0

    @property
    def arm(self) -> Arm:
        """Mode and settings."""
        return parse_arm(self.label)


class Level(Record):
    """One setting of the policy."""

    mu: float = Field(ge=0)
    """Quality that a unit of cost must be worth; 1 is the dearest arm's whole cost."""
    margin: float = Field(ge=0)


@dataclass(frozen=True)
class Choice:
    """What the policy chose for one question."""

    arm: ArmModel
    mu: float
    expected: dict[str, float]
    costs: dict[str, float]
    why: list[tuple[str, float]]
    clipped: list[str]
    missing: list[str]


class LearnedRouter(Record):
    """The content of `router.json`."""

    format: int = FORMAT
    name: str = ""
    """Of the published artifact."""
    base_digest: str
    prompt_digest: str
    adapter: str | None
    """`name-vN` of the adapter that read passages in the evaluation."""
    kb_version: int
    k: int = Field(ge=1)
    """Passages that the features are of."""
    draft: bool
    """Whether it sees a closed-book draft, which is then written before the choice."""
    draft_adapter: str | None = None
    draft_tokens: float = 0.0
    """Mean tokens of a draft."""
    features: list[FeatureScale]
    arms: list[ArmModel] = Field(min_length=1)
    levels: dict[str, Level]

    @property
    def adapters(self) -> set[str]:
        """All that it may choose."""
        used = {arm.adapter for arm in self.arms} | {self.adapter, self.draft_adapter}
        return {adapter for adapter in used if adapter is not None}

    def level(self, mu: str | float) -> Level:
        """The setting of a name, or of a number with the margin of `quality`.

        Raises:
            InputError: There is no such level, or the number is negative.
        """
        if isinstance(mu, str):
            if mu not in self.levels:
                raise InputError(f"mu={mu!r}: expected {', '.join(self.levels)} or a number")
            return self.levels[mu]
        if not mu >= 0:
            raise InputError(f"mu={mu}: must be at least 0")
        return Level(mu=mu, margin=self.levels["quality"].margin)

    def scaled(self, features: Features) -> tuple[Floats, list[str], list[str]]:
        """Values float64 [n_features], names of those clipped, names of those not known."""
        values, clipped, missing = np.zeros(len(self.features)), [], []
        for i, scale in enumerate(self.features):
            value = features.get(scale.name)
            if value is None or not np.isfinite(value):
                missing.append(scale.name)
                continue
            inside = min(max(float(value), scale.low), scale.high)
            if inside != value:
                clipped.append(scale.name)
            values[i] = (inside - scale.mean) / scale.deviation
        return values, clipped, missing

    def expected(self, values: Floats) -> Floats:
        """Expected quality of each arm, float64 [n_arms], of scaled values."""
        return np.array([arm_quality(arm, values) for arm in self.arms])

    def choose(
        self, features: Features, mu: str | float, modes: Collection[str] | None = None
    ) -> Choice:
        """The arm for one question; never fails on a feature's value.

        Args:
            features: What is known of the question.
            mu: A level or a number.
            modes: Labels that may be chosen; None is all.

        Raises:
            InputError: `mu` is malformed, or no arm may be chosen.
        """
        level = self.level(mu)
        values, clipped, missing = self.scaled(features)
        forecast = self.expected(values)
        usable = [i for i, arm in enumerate(self.arms) if modes is None or arm.label in modes]
        if not usable:
            raise InputError("the router has no way to answer that may be taken here")
        costs = np.array([arm.cost for arm in self.arms])
        means = np.array([arm.quality for arm in self.arms])
        chosen = usable[best_arm(forecast[usable], means[usable], costs[usable], level)]
        return Choice(
            arm=self.arms[chosen],
            mu=level.mu,
            expected={
                a.label: round(float(q), 4) for a, q in zip(self.arms, forecast, strict=True)
            },
            costs={a.label: round(a.cost, 4) for a in self.arms},
            why=self._reasons(chosen, values),
            clipped=clipped,
            missing=missing,
        )

    def _reasons(self, chosen: int, values: Floats) -> list[tuple[str, float]]:
        """What spoke most for the chosen arm against the mean of the others, log-odds."""
        effects = np.array([arm.slope * np.array(arm.weights) * values for arm in self.arms])
        others = np.delete(effects, chosen, axis=0)
        gains = effects[chosen] - (others.mean(axis=0) if len(others) else 0.0)
        order = np.argsort(-np.abs(gains), kind="stable")[:TOP_REASONS]
        return [
            (self.features[i].name, round(float(gains[i]), 3))
            for i in order
            if abs(gains[i]) > 5e-4
        ]


def best_arm(expected: Floats, means: Floats, costs: Floats, level: Level) -> int:
    """Index of the arm that the policy takes; [n_arms] each."""
    worth = expected - level.mu * costs
    usual = int(np.argmax(means - level.mu * costs))
    best = int(np.argmax(worth))
    return best if worth[best] - worth[usual] > level.margin else usual


def parse_router(text: str | bytes, source: str) -> LearnedRouter:
    """The router in a file's text.

    Raises:
        ArtifactMismatch: The text is no router, or one of another version of this software.
    """
    try:
        router = LearnedRouter.model_validate_json(text)
    except ValidationError as exc:
        raise ArtifactMismatch(f"{source}: not a router: {explain(exc)}") from exc
    known = {scale.name for scale in router.features} <= set(FEATURES)
    sizes = {len(arm.weights) for arm in router.arms} == {len(router.features)}
    levels = set(LEVELS) <= set(router.levels)
    if router.format != FORMAT or not known or not sizes or not levels:
        raise ArtifactMismatch(f"{source}: made by another version (format {router.format})")
    return router


def arm_quality(arm: ArmModel, values: Floats) -> float:
    """Expected quality of an arm, 0 to 1, for scaled values [n_features]."""
    logit = arm.slope * (arm.intercept + float(np.dot(arm.weights, values))) + arm.offset
    return float(1 / (1 + np.exp(-np.clip(logit, -MAX_LOGIT, MAX_LOGIT))))
