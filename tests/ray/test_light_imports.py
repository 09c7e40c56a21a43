"""What starts often starts fast: Transformers' model classes take a core six seconds to import."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKED = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in sys.argv[2].split(","):
            raise ModuleNotFoundError(f"{name} must not be needed here", name=name)

sys.meta_path.insert(0, Absent())
importlib.import_module(sys.argv[1])
"""
SEARCH = ["data_pipelines.open_retriever", "data_pipelines.ingest_ray", "serve.knowledge"]
DRIVERS = [
    "data_pipelines.raft",
    "train.adapter",
    "train.compare.run",
    "train.refresh",
    "train.tune",
]


def imports_without(module: str, absent: str) -> None:
    code = [sys.executable, "-c", BLOCKED, module, absent]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", SEARCH)
def test_search_needs_no_transformers(module: str) -> None:
    imports_without(module, "transformers")


@pytest.mark.parametrize("module", DRIVERS)
def test_a_driver_needs_no_model_classes(module: str) -> None:
    imports_without(module, "transformers.modeling_utils,deepspeed,peft")
