from pathlib import Path

import pytest
import yaml

from rayraft.config import load
from rayraft.errors import ConfigError
from train.config import TrainConfig, deciding_settings, learning_rate

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "train").glob("lora*.yaml"))


def test_there_are_shipped_configurations() -> None:
    assert [path.name for path in SHIPPED] == ["lora.yaml", "lora_zero3_gpu.yaml"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configurations_are_valid_and_survive_the_way_to_the_worker(path: Path) -> None:
    config = load(TrainConfig, path)
    assert TrainConfig(**config.model_dump()) == config
    assert TrainConfig(**yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("lora.rank=8", "unknown key lora.rank"),
        ("learning_rate=0", "learning_rate=0"),
        ("zero_stage=4", "zero_stage=4"),
        ("precision=int8", "precision='int8'"),
        ("workers.count=0", "workers.count=0"),
        ("workers.gpus_per_worker=0.5", "must be 0 or 1"),
        ("micro_batch_tokens=100", "micro_batch_tokens=100: must hold one row"),
        ("freeze=[encoder]", "only for tuning=full"),
        ("precision=fp16", "needs workers.gpus_per_worker=1"),
        ("workers.count=3..2", "must be within 1 to 4096, as N or N..M"),
        ("workers.count=2-4", "must be within 1 to 4096, as N or N..M"),
        ("workers={count: 1..2, cpus_per_worker: 0.5}", "must be whole for workers.count=1..2"),
        ("closed_book_share=0.3", "only for method=mixed"),
        ("early_stopping_patience=2", "needs eval_every_steps"),
    ],
)
def test_wrong_values_are_one_line_that_names_the_field(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(TrainConfig, None, [override])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_quantized_base_says_all_that_it_needs() -> None:
    asked = ["lora.quantize=nf4", "precision=fp32", "zero_stage=3"]
    with pytest.raises(ConfigError, match=r"needs precision=bf16 or fp16, zero_stage 1 or 2$"):
        load(TrainConfig, None, asked)
    assert load(TrainConfig, None, asked[:1]).lora.quantize == "nf4"


def test_stage_0_takes_no_half_precision() -> None:
    with pytest.raises(ConfigError, match="zero_stage=0: needs precision=fp32, not bf16"):
        load(TrainConfig, None, ["zero_stage=0", "precision=bf16"])
    assert load(TrainConfig, None, ["zero_stage=0"]).precision == "auto"


def test_every_field_says_what_it_means_or_is_plain() -> None:
    plain = {"tuning", "lora", "learning_rate", "adam_betas", "epochs", "seed", "workers"}
    plain |= {"log_every_steps", "gradient_checkpointing"}
    silent = {name for name, field in TrainConfig.model_fields.items() if not field.description}
    assert silent <= plain


def test_learning_rate_rises_then_falls_to_its_end() -> None:
    config = load(TrainConfig, None, ["warmup_fraction=0.1", "final_learning_rate_fraction=0.2"])
    rates = [learning_rate(step, 100, config) for step in range(100)]
    peak = rates.index(max(rates))
    assert peak == 10
    assert rates[peak] == config.learning_rate
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[0] > 0
    assert rates[-1] == pytest.approx(0.2 * config.learning_rate, rel=0.05)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_shortest_runs_have_a_rate_too(total: int) -> None:
    config = TrainConfig()
    assert all(0 < learning_rate(s, total, config) <= config.learning_rate for s in range(total))


@pytest.mark.parametrize(
    ("override", "decides"),
    [
        ("collective_timeout_s=900", False),
        ("max_failures=5", False),
        ("workers.count=8", False),
        ("zero_stage=3", False),
        ("log_every_steps=1", False),
        ("base_model=other", False),  # its digest counts, not its name
        ("seed=1", True),
        ("lora.r=8", True),
        ("global_batch_size=64", True),
        ("micro_batch_tokens=8192", True),
    ],
)
def test_a_run_is_another_run_only_by_what_its_steps_compute(override: str, decides: bool) -> None:
    other = deciding_settings(load(TrainConfig, None, [override]))
    assert (other != deciding_settings(TrainConfig())) is decides


def test_a_range_of_workers_has_two_ends_and_a_number_is_both() -> None:
    fixed, elastic = (
        load(TrainConfig, None, [f"workers.count={count}"]).workers for count in ("3", "2..8")
    )
    assert (fixed.least, fixed.most, fixed.is_elastic) == (3, 3, False)
    assert (elastic.least, elastic.most, elastic.is_elastic) == (2, 8, True)


def test_when_training_may_end_decides_where_it_is_looked_at() -> None:
    often, seldom = (
        load(TrainConfig, None, [f"eval_every_steps={n}", "early_stopping_patience=2"])
        for n in (5, 50)
    )
    assert deciding_settings(often) != deciding_settings(seldom)
    free = [load(TrainConfig, None, [f"eval_every_steps={n}"]) for n in (5, 50)]
    assert deciding_settings(free[0]) == deciding_settings(free[1])
