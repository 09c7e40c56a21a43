"""Ray composition of a search over training settings: Ray Tune's ASHA over Ray Train runs.

Nothing of Ray Tune's own state is read again, as it is pickled: every trial is a training with a
name of its own that goes on from its checkpoint, and draws are the same for the same seed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.tune
import ray.tune.search.basic_variant
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import AsyncHyperBandScheduler

from data_pipelines.artifacts import ArtifactRef
from data_pipelines.progress import Advance, no_progress
from data_pipelines.stores import store_uri
from rayraft.errors import ConfigError, InputError
from rayraft.models.base_files import base_digest
from rayraft.records import digest
from train.adapter import examples_run, features_of
from train.config import TrainConfig, deciding_settings
from train.example_views import view_of
from train.fit import fit_features
from train.run_files import CURVE, RunPlace
from train.tune_config import TuneConfig, trial_config
from train.tune_report import Trial, ordered

LOSS, STEP = "validation_loss", "step"


@dataclass(frozen=True)
class Tuned:
    """A finished search."""

    trials: list[Trial]
    best: TrainConfig
    """The training of the best trial."""
    run: str
    """RAFT run that was searched on."""


def tune(
    store: str, config: TuneConfig, run: str | None = None, progress: Advance = no_progress
) -> Tuned:
    """Searches for the settings with the lowest validation loss.

    After a crash, when the budget was used up, or with more trials, the same command goes on: what
    was trained is not trained again.

    Args:
        store: Folder or URI.
        config: Of the search.
        run: RAFT run; None takes the newest.
        progress: Told how many trials have ended.

    Raises:
        NotFoundError: There is no such RAFT run.
        ConfigError: Values of the search are more than the run has.
        InputError: No trial came to a validation.
    """
    source, made_of = examples_run(store, run)
    check_space(config, made_of.config)
    place = RunPlace(f"{store_uri(store)}/runs", f"tune-{source.name}")
    trial = _TrialRun(config, source, made_of.config, place.storage)
    tuner = ray.tune.Tuner(
        # The trial itself only waits: its workers are Ray Train's, with resources of their own.
        # A CPU of its own would be one less for them; Ray Tune does not take nothing at all.
        ray.tune.with_resources(trial, {"CPU": 0, "memory": 2**20}),
        param_space=space(config),
        tune_config=_schedule(config),
        run_config=ray.tune.RunConfig(
            name=place.name,
            storage_path=place.storage,
            verbose=0,
            callbacks=[_Ended(progress, config.trials)],
        ),
    )
    results = tuner.fit()
    trials = [_outcome(results[i]) for i in range(len(results))]
    finished = [trial for trial in trials if trial.validation_loss is not None]
    if not finished:
        errors = sorted({trial.error for trial in trials if trial.error})
        raise InputError(f"no trial came to a validation: {'; '.join(errors) or 'budget_s is up'}")
    best = trial_config(config, ordered(finished)[0].drawn)
    return Tuned(trials, best, source.name)


def check_space(config: TuneConfig, written_with: dict[str, Any]) -> None:
    """Whether every combination that may be drawn can be trained.

    Raises:
        ConfigError: One cannot; says which setting and why.
    """
    search = config.search
    for fraction in search.golden_fraction or (None,):
        for count in search.distractors or (None,):
            for r in search.lora_r or (None,):
                drawn = {"golden_fraction": fraction, "distractors": count, "lora_r": r}
                try:
                    made = trial_config(config, {k: v for k, v in drawn.items() if v is not None})
                except ValueError as exc:
                    raise ConfigError(f"search: {exc}") from exc
                view_of(made, written_with)


def space(config: TuneConfig) -> dict[str, Any]:
    """The search space as Ray Tune draws from it."""
    search = config.search
    choices = {
        "lora_r": search.lora_r,
        "golden_fraction": search.golden_fraction,
        "distractors": search.distractors,
    }
    drawn = {name: ray.tune.choice(list(values)) for name, values in choices.items() if values}
    low, high = search.learning_rate
    return drawn | {"learning_rate": ray.tune.loguniform(low, high) if low < high else low}


def _schedule(config: TuneConfig) -> ray.tune.TuneConfig:
    return ray.tune.TuneConfig(
        metric=LOSS,
        mode="min",
        num_samples=config.trials,
        time_budget_s=config.budget_s,
        reuse_actors=False,
        scheduler=AsyncHyperBandScheduler(
            time_attr=STEP,
            max_t=config.steps,
            grace_period=config.rung_steps,
            reduction_factor=config.reduction,
        ),
        search_alg=ray.tune.search.basic_variant.BasicVariantGenerator(
            max_concurrent=config.parallel or _places(config.train), random_state=config.seed
        ),
    )


def _places(config: TrainConfig) -> int:
    """Trials that the cluster holds at one time."""
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    workers = config.workers
    fits = there.get("CPU", 1) / (workers.least * workers.cpus_per_worker)
    if workers.gpus_per_worker:
        fits = min(fits, there.get("GPU", 0) / (workers.least * workers.gpus_per_worker))
    return max(1, int(fits))


class _TrialRun:
    """What Ray Tune calls with the values that it drew."""

    def __init__(
        self, config: TuneConfig, source: ArtifactRef, written_with: dict[str, Any], storage: str
    ) -> None:
        self._config, self._source = config, source
        self._written_with, self._storage = written_with, storage
        self.__name__ = "rayraft_trial"  # Ray Tune asks for it

    def __call__(self, drawn: dict[str, float]) -> None:
        config = trial_config(self._config, drawn)
        parts = [deciding_settings(config), self._source.name, base_digest(config.base_model)]
        # Where a trial is looked at decides no step of it.
        place = RunPlace(self._storage, f"tune-{self._source.name}-{digest(parts)[:12]}")
        for point in _validations(place):
            ray.tune.report(point)  # a trial that had been stopped here is stopped again
        features, validation = features_of(
            self._source, config, view_of(config, self._written_with)
        )
        held_out = validation if validation.count() else None
        if held_out is None:
            raise InputError(f"{self._source.uri}: no validation rows, by which trials compare")
        told = TuneReportCallback()  # type: ignore[no-untyped-call]
        fit_features(config, features, place, held_out, callbacks=[told])


def _validations(place: RunPlace) -> list[dict[str, float]]:
    """What an earlier start of this trial came to; nothing where it is kept in a bucket."""
    path = Path(place.storage) / place.name / CURVE
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    points = [json.loads(line) for line in lines if line.endswith("}")]
    return [{STEP: p[STEP], LOSS: p[LOSS]} for p in points if LOSS in p]


class _Ended(ray.tune.Callback):
    """Tells a progress bar how many trials have ended."""

    def __init__(self, progress: Advance, trials: int) -> None:
        self._progress, self._trials, self._ended = progress, trials, 0
        self._best = float("inf")

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune writes it down for a state that is not read again; a bar cannot be."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """Remembers the lowest loss."""
        self._best = min(self._best, result.get(LOSS, self._best))
        self._progress(self._ended, self._trials, f"lowest validation loss {self._best:.4f}")

    def on_trial_complete(
        self, iteration: int, trials: Sequence[Any], trial: Any, **_: Any
    ) -> None:
        """Counts."""
        self._ended += 1
        self._progress(self._ended, self._trials, f"lowest validation loss {self._best:.4f}")

    on_trial_error = on_trial_complete


def _outcome(result: Any) -> Trial:
    metrics = result.metrics or {}
    error = str(result.error).strip().splitlines()[-1][:200] if result.error else None
    return Trial(dict(result.config), int(metrics.get(STEP, 0)), metrics.get(LOSS), error)
