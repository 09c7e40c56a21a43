"""How OpenMP's threads wait for each other is said before a library reads it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORDER = """
import importlib, os, sys
importlib.import_module(sys.argv[1])
names = list(sys.modules)
first = min(names.index(name) for name in ("torch", "faiss") if name in names)
assert names.index("rayraft") < first, names[first]
print(os.environ.get("GOMP_SPINCOUNT"))
"""


def said(module: str, **given: str) -> str:
    kept = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", ORDER, module],
        cwd=ROOT,
        env=kept | given,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module",
    ["train.loop", "data_pipelines.vectors", "rayraft.models.text"],
)
def test_it_is_said_before_torch_or_faiss_is_loaded(module: str) -> None:
    assert said(module) == "1000"


def test_what_the_user_says_stays() -> None:
    assert said("data_pipelines.vectors", GOMP_SPINCOUNT="7") == "7"
    assert said("data_pipelines.vectors", OMP_WAIT_POLICY="active") == "None"
