"""What only a GPU can show: the default models on one device, and a worker that has it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from rayraft.config import load
from rayraft.models.text import TextModel
from rayraft.prompts import answer_messages, parse_answer
from rayraft.records import Passage
from tests.ray.tiny_models import copying_rows, save_causal, save_seq2seq
from train.config import TrainConfig
from train.fit import fit_rows
from train.run_files import RunPlace

PASSAGE = Passage(
    chunk_id="c", document_id="d", title="Returns", text="Goods may be returned within 14 days."
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    import ray

    try:
        ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False)
        yield
    finally:
        ray.shutdown()


def test_the_shipped_model_writes_the_same_on_the_gpu_as_on_the_cpu():
    prompts = [answer_messages("Within how many days may goods be returned?", [PASSAGE])]
    texts = {
        device: TextModel.load(device=device, dtype="float32").generate(prompts)[0].text
        for device in ("cpu", "cuda")
    }
    assert texts["cuda"] == texts["cpu"]
    assert "14" in parse_answer(texts["cuda"]).text


def test_auto_takes_the_gpu():
    model = TextModel.load(device="auto")
    assert torch.cuda.memory_allocated() > 0
    assert model.generate([answer_messages("Who?", [PASSAGE])])[0].completion_tokens > 0


@pytest.mark.parametrize("zero_stage", [1, 2, 3])
@pytest.mark.parametrize("kind", ["seq2seq", "causal"])
@pytest.mark.usefixtures("cluster")
def test_lora_learns_on_a_worker_with_a_gpu(tmp_path: Path, kind: str, zero_stage: int):
    base = (save_seq2seq if kind == "seq2seq" else save_causal)(tmp_path)
    config = load(
        TrainConfig,
        None,
        [
            f"base_model={base}",
            f"zero_stage={zero_stage}",
            "max_steps=20",
            "learning_rate=0.01",
            "log_every_steps=1",
            "workers.count=1",
            "workers.gpus_per_worker=1",
        ],
    )
    place = RunPlace(str(tmp_path / "runs"), "gpu")
    result = fit_rows(config, copying_rows(60), place, copying_rows(20, seed=1))
    losses = [point["loss"] for point in result.curve if "loss" in point]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
