"""Ray Train with two workers: the same result as with one, also after a kill."""

from pathlib import Path

import pytest
import ray.data
import ray.train
import torch
from safetensors.torch import load_file

import train.fit
import train.worker
from rayraft.errors import ConfigError
from tests.ray.fit_harness import (
    STEPS,
    assert_same_end,
    counting_worker,
    dying_worker,
    losses,
    settings,
    steps_logged,
)
from tests.ray.tiny_models import copying_rows, save_seq2seq
from train.averaging import WeightMean
from train.fit import FitResult, fit_rows
from train.run_files import RunPlace

AVERAGED = 8
pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_seq2seq(tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def undisturbed(ray_cluster: None, base: str, storage: str) -> FitResult:
    """A range of workers, here two, from the first to the last step, with a mean at the end.

    The other runs have neither, which makes no other training.
    """
    rows, held_out = copying_rows(60), copying_rows(20, seed=1)
    config = settings(base, f"average_from_step={AVERAGED}", "workers.count=1..2")
    return fit_rows(config, rows, RunPlace(storage, "undisturbed"), held_out)


def test_result_has_metrics_curve_and_a_loadable_model_of_averaged_weights(
    undisturbed: FitResult, storage: str, tmp_path: Path
) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    assert len(losses(undisturbed)) == STEPS
    assert losses(undisturbed)[-1] < losses(undisturbed)[0]
    assert undisturbed.metrics["step"] == STEPS
    assert undisturbed.metrics["validation_loss"] > 0
    events = (Path(storage) / "undisturbed" / "tensorboard").glob("events.out.tfevents.*")
    assert sum(path.stat().st_size for path in events) > 500
    folder = undisturbed.export_to(tmp_path)
    AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    states = (Path(storage) / "undisturbed").glob("checkpoint_2*/state.safetensors")
    eighth, twelfth = (load_file(path) for path in states)
    for name, parameter in model.named_parameters():
        expected = (eighth[f"weight.{name}"] + twelfth[f"weight.{name}"]) / 2
        torch.testing.assert_close(parameter.detach(), expected, msg=name)


def test_a_mean_goes_on_from_its_file(tmp_path: Path) -> None:
    mean = WeightMean.load(None)
    for value in (1.0, 2.0, 6.0, 7.0):
        mean.add({"w": torch.full((2,), value)})
        mean.save(tmp_path)
        mean = WeightMean.load(tmp_path)
    assert mean.tensors["w"].tolist() == [4.0, 4.0]


@pytest.mark.slow
def test_one_worker_computes_what_two_do(undisturbed: FitResult, base: str, storage: str) -> None:
    config = settings(base, "workers.count=1", "micro_batch_tokens=4096")
    alone = fit_rows(config, copying_rows(60), RunPlace(storage, "alone"))
    assert losses(alone) == pytest.approx(losses(undisturbed), abs=2e-4)


def test_run_goes_on_after_a_killed_worker(
    undisturbed: FitResult, base: str, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = Path(storage) / "killed"
    worker = dying_worker(flag, Path(storage) / "disturbed")
    monkeypatch.setattr(train.fit, "train_worker", worker)
    config = settings(base, "max_failures=1")
    disturbed = fit_rows(config, copying_rows(60), RunPlace(storage, "disturbed"))
    assert flag.exists()
    assert steps_logged(storage, "disturbed") == [*range(1, 7), *range(5, STEPS + 1)]
    assert losses(disturbed) == pytest.approx(losses(undisturbed), abs=1e-4)
    assert_same_end(disturbed, undisturbed)


@pytest.mark.slow
def test_three_workers_and_then_one_go_on_where_two_stopped(
    undisturbed: FitResult, base: str, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, rows = RunPlace(storage, "failed"), copying_rows(60)
    three = ("workers.count=3", "workers.cpus_per_worker=0.5")
    for step, workers in ((6, ()), (10, three)):
        flag, folder = Path(storage) / f"killed-{step}", Path(storage) / "failed"
        with monkeypatch.context() as patch:
            patch.setattr(train.fit, "train_worker", dying_worker(flag, folder, step))
            with pytest.raises(ray.train.TrainingFailedError):
                fit_rows(settings(base, "max_failures=0", *workers), rows, place)
    finished = fit_rows(settings(base, "workers.count=1"), rows, place)
    steps = [*range(1, 7), *range(5, 11), *range(9, STEPS + 1)]
    assert steps_logged(storage, "failed") == steps
    assert losses(finished) == pytest.approx(losses(undisturbed), abs=2e-4)
    assert_same_end(finished, undisturbed)


@pytest.mark.slow
def test_a_setting_that_does_not_fit_the_model_is_one_clear_error_and_no_restart(
    base: str, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = tmp_path / "starts"
    monkeypatch.setattr(train.fit, "train_worker", counting_worker(starts))
    wrong = ["lora.target_modules=[nowhere]", "max_failures=2", "workers.count=1"]
    config = settings(base, "tuning=lora", *wrong)
    with pytest.raises(ConfigError, match=r"^lora\.target_modules=\['nowhere'\]") as error:
        fit_rows(config, copying_rows(20), RunPlace(storage, "wrong"))
    assert type(error.value) is ConfigError
    assert starts.read_text().splitlines() == ["started"]
