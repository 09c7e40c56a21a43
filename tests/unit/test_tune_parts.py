from pathlib import Path

import pytest

from rayraft.config import load
from rayraft.errors import ConfigError
from train.config import TrainConfig
from train.tune_config import TuneConfig, trial_config
from train.tune_report import Trial, as_yaml, ordered, table

TRIALS = [
    Trial({"lora_r": 8, "learning_rate": 1e-3}, 50, 0.4),
    Trial({"lora_r": 16, "learning_rate": 2e-3}, 200, 0.6),
    Trial({"lora_r": 4, "learning_rate": 3e-3}, 200, 0.5),
    Trial({"lora_r": 4, "learning_rate": 0.5}, 0, None, "the loss is nan"),
]


def test_a_trial_is_the_common_training_with_what_was_drawn():
    config = load(TuneConfig, None, ["steps=100", "rungs=4", "train.lora.alpha=48"])
    made = trial_config(config, {"lora_r": 4, "learning_rate": 0.01, "distractors": 2})
    assert (made.lora.r, made.lora.alpha) == (4, 12.0)  # alpha / r stays 3
    assert (made.learning_rate, made.distractors, made.golden_fraction) == (0.01, 2, None)
    assert (made.max_steps, made.eval_every_steps, made.checkpoint_every_steps) == (100, 25, 25)


def test_the_best_trial_is_one_that_was_not_stopped_early():
    assert [trial.validation_loss for trial in ordered(TRIALS)] == [0.5, 0.6, 0.4, None]


def test_the_table_has_a_line_a_trial_and_only_the_columns_that_were_searched():
    lines = table(TRIALS, steps=200).splitlines()
    assert len(lines) == 5
    assert lines[0].split() == ["lora.r", "learning_rate", "steps", "validation", "loss"]
    assert lines[1].split() == ["4", "0.003", "200", "0.5000"]
    assert lines[3].endswith("stopped")
    assert lines[4].endswith("the loss is nan")


def test_the_best_configuration_is_a_file_that_train_takes(tmp_path: Path):
    config = load(TuneConfig, None, ["train.method=mixed", "train.workers.count=1"])
    best = trial_config(config, {"lora_r": 32, "learning_rate": 0.000123, "golden_fraction": 0.9})
    path = tmp_path / "best.yaml"
    path.write_text(as_yaml(best, "two\nlines"), encoding="utf-8")
    assert load(TrainConfig, path) == best


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("search.learning_rate=[0.1,0.01]", "0 < least <= most"),
        ("rungs=50", "must be at most steps=10"),
        ("train.tuning=full", "must be tuning=lora"),
        ("train={early_stopping_patience: 2, eval_every_steps: 5}", "stopped by their comparison"),
        ("search.nowhere=[1]", "unknown key search.nowhere"),
    ],
)
def test_wrong_values_are_refused(override: str, said: str):
    with pytest.raises(ConfigError, match=said):
        load(TuneConfig, None, ["steps=10", "rungs=2", override])
