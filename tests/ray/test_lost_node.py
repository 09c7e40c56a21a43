"""A node is lost in the midst of an ingest, a training and searches over four shards."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.ray.losing_nodes import FILES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each part found, by its name."""
    folder = tmp_path_factory.mktemp("nodes")
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp", ignore_cleanup_errors=True) as temp:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.ray.losing_nodes", str(folder), temp],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        try:
            _, errors = process.communicate(timeout=600)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its Ray
            process.wait()
    assert process.returncode == 0, errors
    record: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return record


def test_an_ingest_goes_on_without_the_node_and_loses_nothing(found: dict[str, Any]) -> None:
    ingest = found["ingest"]
    assert 0 < ingest["lost_at"][0] < FILES
    assert (ingest["added"], ingest["embedded"], ingest["quarantined"]) == (FILES, FILES, 0)


def test_a_training_goes_on_with_the_workers_that_are_left(found: dict[str, Any]) -> None:
    training = found["training"]
    assert training["flag"]
    logged = training["logged"]
    assert [step for step, _ in logged] == [*range(1, 7), *range(5, training["last"] + 1)]
    for step, loss in logged[4:6]:  # by two workers, and again by the one that is left
        assert loss == pytest.approx(logged[step + 1][1], abs=1e-3)
    assert training["losses"][-1] < training["losses"][0]
    assert training["validation_loss"] > 0


def test_searches_are_partial_until_another_node_has_the_shards(found: dict[str, Any]) -> None:
    serving = found["serving"]
    assert serving["whole"] and serving["documents"] == serving["of"]
    assert serving["partial"] > 0 and serving["failed"] == []
    assert serving["same_after"]
