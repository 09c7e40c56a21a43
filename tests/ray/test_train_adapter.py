"""From RAFT examples in a store to an adapter that the text model uses."""

from pathlib import Path

import pytest

from data_pipelines.artifacts import fetch, publish
from rayraft.config import load
from rayraft.errors import ArtifactMismatch, ConfigError, InputError, NotFoundError
from rayraft.manifests import Manifest
from rayraft.models.base_files import base_digest
from rayraft.models.text import TextModel
from rayraft.prompts import answer_messages, prompt_digest
from tests.ray.raft_toy import publish_toy_run, toy_example
from tests.ray.tiny_models import save_seq2seq
from train.adapter import train_adapter
from train.config import TrainConfig

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_seq2seq(tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = str(tmp_path_factory.mktemp("store"))
    bound = {"kb_version": 5, "data_digest": "dd"}
    publish_toy_run(store, "run-1", range(24), range(30, 36), **bound)
    return store


def settings(base: str, *overrides: str) -> TrainConfig:
    return load(
        TrainConfig,
        None,
        [
            f"base_model={base}",
            "precision=fp32",
            "max_steps=8",
            "global_batch_size=8",
            "learning_rate=0.02",
            "lora.r=4",
            "log_every_steps=1",
            *overrides,
        ],
    )


def test_adapter_is_published_once_bound_to_its_making_and_usable(
    store: str, base: str, tmp_path: Path
) -> None:
    config = settings(base)
    trained = train_adapter(store, config, "support")
    assert trained.ref.artifact_id == "support-v1"
    manifest = fetch(trained.ref, tmp_path)
    files = ["adapter_config.json", "adapter_model.safetensors", "loss_curve.svg"]
    assert sorted(manifest.files) == files
    assert (manifest.kb_version, manifest.data_digest) == (5, "dd")
    assert manifest.base_digest == base_digest(base)
    assert manifest.prompt_digest == prompt_digest()
    assert manifest.made_from[0] == "raft/run-1"
    assert TrainConfig(**manifest.config) == config
    assert (manifest.metrics["rows"], manifest.metrics["validation_rows"]) == (24, 6)
    curve = [point["loss"] for point in manifest.curve if "loss" in point]
    assert curve[-1] < curve[0]

    model = TextModel.load(base, device="cpu", dtype="float32")
    model.load_adapter("support-v1", tmp_path)
    shown = toy_example(3, "train")
    prompt = answer_messages(shown.question, shown.passages)
    (plain,) = model.generate([prompt], max_new_tokens=12)
    (tuned,) = model.generate([prompt], max_new_tokens=12, adapter="support-v1")
    assert tuned.text != plain.text

    again = train_adapter(store, config, "support")
    assert not again.is_new
    assert again.ref == trained.ref


def test_nothing_to_train_on_is_one_clear_line(store: str, base: str) -> None:
    with pytest.raises(InputError, match=r"none of 24 training examples.*max_completion_tokens=4"):
        train_adapter(store, settings(base, "max_completion_tokens=4"), "support")


def test_wrong_runs_are_refused(store: str, base: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no raft 'run-2'; there is run-1"):
        train_adapter(store, settings(base), "support", run="run-2")
    with pytest.raises(NotFoundError, match="no raft, there is none yet"):
        train_adapter(str(tmp_path), settings(base), "support")
    with pytest.raises(ConfigError, match="tuning=full"):
        train_adapter(store, settings(base, "tuning=full"), "support")
    publish(str(tmp_path), "raft", "old", {}, Manifest(kind="raft", prompt_digest="other"))
    with pytest.raises(ArtifactMismatch, match="written for other prompts"):
        train_adapter(str(tmp_path), settings(base), "support")
