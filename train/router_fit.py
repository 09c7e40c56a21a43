"""Fits a router: calibrated logistic models of each arm's quality, and the policy's levels.

Quality is a fraction, so each question counts as right with that weight and as wrong with the rest.
Everything that is tuned (regularisation, calibration, levels, whether a draft is worth its tokens)
is tuned on forecasts of questions that the models had not seen. Knows no Ray and no storage.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from rayraft.learned_router import MAX_LOGIT, ArmModel, FeatureScale, Level, arm_quality
from rayraft.route_features import FEATURES, Features
from train.router_config import RouterTrainConfig
from train.router_outcomes import Floats, Outcomes

Ints = npt.NDArray[np.int64]
MUS = (0.0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.6, 1.0)
MARGINS = (0.0, 0.02, 0.04, 0.07, 0.1, 0.15, 1.0)
"""1 never leaves the best fixed arm."""
_CALIBRATION_STRENGTH = 10.0


@dataclass(frozen=True)
class Fitted:
    """What was learned of some questions; a `LearnedRouter` also says where it came from."""

    features: list[FeatureScale]
    arms: list[ArmModel]
    levels: dict[str, Level]
    draft: bool
    worth: float
    """By which variants with and without a draft are compared."""


def fit(outcomes: Outcomes, rows: Ints, config: RouterTrainConfig) -> Fitted:
    """The router of the questions `rows`."""
    if outcomes.drafts is None or config.draft is False:
        return _fit(outcomes, rows, config, False)
    drafted = _fit(outcomes, rows, config, True)
    if config.draft:
        return drafted
    plain = _fit(outcomes, rows, config, False)
    return drafted if drafted.worth > plain.worth else plain


def folds_of(n: int, folds: int, seed: int) -> list[Ints]:
    """`folds` parts of 0..n-1, of almost the same size."""
    return np.array_split(np.random.default_rng(seed).permutation(n), folds)


def scales_of(features: Sequence[Features]) -> list[FeatureScale]:
    """Range and spread of every feature that varies among the questions."""
    scales = []
    for name in FEATURES:
        values = np.array([f[name] for f in features if name in f and np.isfinite(f[name])])
        if values.size < 2:
            continue
        low, high = np.quantile(values, [0.005, 0.995])
        inside = np.clip(values, low, high)
        if inside.std() > 1e-9:
            scales.append(
                FeatureScale(
                    name=name, low=low, high=high, mean=inside.mean(), deviation=inside.std()
                )
            )
    return scales


def matrix_of(features: Sequence[Features], scales: Sequence[FeatureScale]) -> Floats:
    """Scaled values, float64 [n, len(scales)]; what is not known is 0, the mean."""
    columns = []
    for scale in scales:
        raw = np.array([f.get(scale.name, scale.mean) for f in features], dtype=np.float64)
        columns.append((np.clip(raw, scale.low, scale.high) - scale.mean) / scale.deviation)
    return np.stack(columns, axis=1) if columns else np.zeros((len(features), 0))


def _fit(outcomes: Outcomes, rows: Ints, config: RouterTrainConfig, draft: bool) -> Fitted:
    features = [all_features(outcomes, int(i), draft) for i in rows]
    scales = scales_of(features)
    x, quality = matrix_of(features, scales), outcomes.quality[rows]
    dearest = outcomes.tokens.mean(axis=0).max()
    spent = outcomes.spent(draft)[rows]
    costs = spent.mean(axis=0) / dearest
    arms, forecasts = [], np.zeros_like(quality)
    for a, label in enumerate(outcomes.arms):
        model, forecasts[:, a] = _fit_arm(x, quality[:, a], config)
        arms.append(
            model.model_copy(
                update={
                    "label": label,
                    "adapter": outcomes.adapters[a],
                    "cost": float(costs[a]),
                    "tokens": float(spent[:, a].mean()),
                    "latency_ms": float(outcomes.latency_ms(draft)[rows, a].mean()),
                }
            )
        )
    levels, worth = _levels(forecasts, quality, costs, spent / dearest, config)
    return Fitted(scales, arms, levels, draft, worth)


def all_features(outcomes: Outcomes, row: int, draft: bool) -> Features:
    """The features of one question, with the draft's or without."""
    known = outcomes.features[row]
    return known | outcomes.drafts[row] if draft and outcomes.drafts is not None else known


def _fit_arm(x: Floats, y: Floats, config: RouterTrainConfig) -> tuple[ArmModel, Floats]:
    """The calibrated model of one arm, and forecasts [n] of each question by the other folds."""
    parts = folds_of(len(y), config.folds, config.seed + 1)
    tried = [_held_out(x, y, strength, parts) for strength in config.strengths]
    best = int(np.argmin([_loss(scores, y) for scores in tried]))
    slope, offset = _calibrate(tried[best], y)
    weights, intercept = _logistic(x, y, config.strengths[best])
    arm = ArmModel(
        label="rag",
        intercept=intercept,
        weights=[float(w) for w in weights],
        slope=slope,
        offset=offset,
        quality=float(y.mean()),
        cost=0.0,
    )
    return arm, _sigmoid(slope * tried[best] + offset)


def _held_out(x: Floats, y: Floats, strength: float, parts: Sequence[Ints]) -> Floats:
    scores = np.zeros(len(y))
    for part in parts:
        others = np.setdiff1d(np.arange(len(y)), part)
        weights, intercept = _logistic(x[others], y[others], strength)
        scores[part] = x[part] @ weights + intercept
    return scores


def _logistic(x: Floats, y: Floats, strength: float) -> tuple[Floats, float]:
    """Weights and intercept; each question is right with weight y and wrong with 1 - y."""
    if x.shape[1] == 0 or (y.min() == y.max() and y.min() in (0.0, 1.0)):
        return np.zeros(x.shape[1]), _logit(float(y.mean()))
    model = LogisticRegression(C=strength, solver="newton-cholesky")
    both = np.concatenate([x, x])
    labels = np.concatenate([np.ones(len(y)), np.zeros(len(y))])
    model.fit(both, labels, sample_weight=np.concatenate([y, 1 - y]))
    return model.coef_[0], float(model.intercept_[0])


def _calibrate(scores: Floats, y: Floats) -> tuple[float, float]:
    """Slope and offset for held-out scores. Source: Platt 1999, with a fraction as the target."""
    weights, offset = _logistic(scores[:, None], y, _CALIBRATION_STRENGTH)
    if weights[0] <= 0:  # the features say nothing of this arm
        return 0.0, _logit(float(y.mean()))
    return float(weights[0]), offset


@dataclass(frozen=True)
class _Tried:
    """What a setting of the policy would have given, on average."""

    level: Level
    quality: float
    promised: float
    """By the forecasts."""
    spent: float


def _levels(
    forecasts: Floats, quality: Floats, costs: Floats, spent: Floats, config: RouterTrainConfig
) -> tuple[dict[str, Level], float]:
    """The policy's settings by what they would have given, and the worth of it all.

    A loss must be within its bound by the outcomes and by the forecasts: of a hundred settings, one
    is lucky with a few hundred outcomes; the forecasts vary less, and promise the best too much.
    """
    means, line, tried = quality.mean(axis=0), np.arange(len(quality)), []
    for mu, margin in itertools.product(MUS, MARGINS):
        level = Level(mu=mu, margin=margin)
        at = line, choices(forecasts, means, costs, level)
        tried.append(_Tried(level, *(float(of[at].mean()) for of in (quality, forecasts, spent))))
    # Among equals the wider margin: it stays with the best fixed arm where nothing is gained.
    free = [each for each in tried if each.level.mu == 0]
    top = max(free, key=lambda each: (round(each.quality, 4), each.level.margin))
    best = {"quality": top}
    for name, loss in (("balanced", config.balanced_loss), ("cheap", config.cheap_loss)):
        kept = [
            each
            for each in tried
            if each.quality >= top.quality - loss and each.promised >= top.promised - loss
        ]
        best[name] = min(kept, key=lambda each: (round(each.spent, 4), -each.quality))
    levels = {name: each.level for name, each in best.items()}
    return levels, top.quality - config.draft_mu * best["balanced"].spent


def forecasts_of(features: Sequence[Features], fitted: Fitted) -> Floats:
    """Expected quality [n, arms] of questions, by the very formula that serves."""
    x = matrix_of(features, fitted.features)
    return np.stack([[arm_quality(arm, row) for arm in fitted.arms] for row in x])


def choices(forecasts: Floats, means: Floats, costs: Floats, level: Level) -> Ints:
    """`best_arm` for each question, int [n]."""
    worth = forecasts - level.mu * costs
    usual = int(np.argmax(means - level.mu * costs))
    best = worth.argmax(axis=1)
    gains = worth[np.arange(len(best)), best] - worth[:, usual]
    return np.where(gains > level.margin, best, usual)


def _loss(scores: Floats, y: Floats) -> float:
    """Mean cross-entropy of logits."""
    p = _sigmoid(scores)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())


def _sigmoid(scores: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(scores, -MAX_LOGIT, MAX_LOGIT)))
    return result


def _logit(p: float) -> float:
    inside = min(max(p, 1e-3), 1 - 1e-3)
    return float(np.log(inside / (1 - inside)))
