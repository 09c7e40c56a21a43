"""What starts often starts fast: Transformers' model classes take a core six seconds to import."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKED = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in sys.argv[2].split(","):
            raise ModuleNotFoundError(f"{name} must not be needed here", name=name)

sys.meta_path.insert(0, Absent())
exec(sys.argv[1])
"""
SEARCH = ["data_pipelines.open_retriever", "data_pipelines.ingest_ray", "serve.knowledge"]
DRIVERS = [
    "data_pipelines.raft",
    "train.adapter",
    "train.compare.run",
    "train.evaluate",
    "train.refresh",
    "train.router",
    "train.tune",
]
WITHOUT_TORCH = [
    "data_pipelines.ingest_ray",
    "data_pipelines.raft",
    "data_pipelines.raft_actor",
    "train.evaluate",
    "train.router",
]
USES = """
from rayraft.models.embedder import Embedder
from rayraft.models.reranker import Reranker
assert Embedder.load().embed(["a bird"]).shape[0] == 1
assert Reranker.load().score("What flies?", ["A bird."]).shape == (1,)
"""
COUNTS = """
from train.config import TrainConfig
from train.memory import count_parameters
assert count_parameters(TrainConfig()).trainable > 0
"""


def runs_without(code: str, absent: str = "") -> None:
    command = [sys.executable, "-c", BLOCKED, code, absent]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", SEARCH)
def test_search_needs_no_transformers(module: str) -> None:
    runs_without(f"import {module}", "transformers")


@pytest.mark.parametrize("module", DRIVERS)
def test_a_driver_needs_no_model_classes(module: str) -> None:
    runs_without(f"import {module}", "transformers.modeling_utils,deepspeed,peft")


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_a_driver_that_only_names_models_needs_no_torch(module: str) -> None:
    runs_without(f"import {module}", "torch")


def test_shipped_embedder_and_reranker_need_no_transformers() -> None:
    runs_without(USES, "transformers")


def test_the_shipped_model_is_known_in_a_process_that_loads_nothing() -> None:
    runs_without(COUNTS)
