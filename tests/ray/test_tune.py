"""A search of two trials: table, best configuration, and what a second start does not redo."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray import PlacementGroupID
from ray.util.placement_group import (
    PlacementGroup,
    placement_group_table,
    remove_placement_group,
)

from rayraft.config import load
from rayraft.errors import ConfigError
from tests.ray.raft_toy import publish_toy_run
from tests.ray.tiny_models import save_seq2seq
from train.tune import check_space, tune
from train.tune_config import TuneConfig


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = str(tmp_path_factory.mktemp("store"))
    publish_toy_run(store, "r", range(16), range(30, 34))
    return store


def settings(base: str, *overrides: str) -> TuneConfig:
    return load(
        TuneConfig,
        None,
        [
            *(f"train.base_model={base}", "train.precision=fp32", "train.global_batch_size=8"),
            *("train.workers.count=1", "search.lora_r=[2,4]", "search.learning_rate=[0.001,0.02]"),
            *("trials=2", "steps=4", "rungs=2", *overrides),
        ],
    )


@pytest.fixture
def places_freed(ray_cluster: None) -> Iterator[None]:
    """Ray Train frees the places of stopped trials by the state API, which needs a dashboard."""
    before = set(placement_group_table())
    yield
    for name, group in placement_group_table().items():
        if name not in before and group["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))


@pytest.mark.slow
@pytest.mark.usefixtures("places_freed")
def test_a_search_finds_the_best_of_its_trials_and_trains_none_twice(
    store: str, tmp_path: Path
) -> None:
    config = settings(save_seq2seq(tmp_path))
    tuned = tune(store, config)
    assert len(tuned.trials) == 2
    to_the_end = [t for t in tuned.trials if t.step == 4 and t.validation_loss is not None]
    best = min(to_the_end, key=lambda trial: trial.validation_loss or 0.0)
    assert tuned.best.learning_rate == best.drawn["learning_rate"]
    assert tuned.best.lora.r == best.drawn["lora_r"]
    curves = sorted((Path(store) / "runs").glob("tune-r-*/curve.jsonl"))
    assert len(curves) == 2
    written = [path.read_text() for path in curves]
    again = tune(store, config)
    assert {tuple(t.drawn.items()) for t in again.trials} == {
        tuple(t.drawn.items()) for t in tuned.trials
    }
    assert again.best == tuned.best
    assert [path.read_text() for path in curves] == written


def test_more_than_the_run_has_is_said_before_the_first_trial() -> None:
    config = load(TuneConfig, None, ["search.distractors=[2,4]"])
    with pytest.raises(ConfigError, match="distractors=4: the RAFT run has 3"):
        check_space(config, {"golden_fraction": 0.8, "distractors": 3})
