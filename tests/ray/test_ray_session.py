"""What a command says when Ray cannot be reached, and when something fails in its workers."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray.data
from typer.testing import CliRunner

from data_pipelines.__main__ import app as ingest_app
from data_pipelines.ray_session import ray_session, start_ray
from data_pipelines.resources import count_actors
from rayraft.commands import clear_errors, new_app
from rayraft.errors import ArtifactMismatch, ClusterError, ConfigError

ON_RAY = ["reading.in_process_mb=0", "embedding.in_process_chunks=0"]
"""A small ingest does without Ray."""


def test_a_cluster_that_is_not_there_is_one_line_and_its_own_exit_code(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some text.", encoding="utf-8")
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "data_pipelines", "ingest", str(tmp_path / "a.txt")),
            *("--store", str(tmp_path / "store"), *ON_RAY),
        ],
        env={**os.environ, "RAY_ADDRESS": "nowhere", "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = ended.stderr.strip().splitlines()
    assert ended.returncode == ClusterError.exit_code, ended.stderr
    assert lines[-1].startswith("error: Ray could not join nowhere: ")
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "store" / "kb").exists()


def failing(where: str) -> Callable[[], None]:
    """A command whose actors raise an error of ours: in their constructor, or on a batch."""

    class Actor:
        def __init__(self) -> None:
            if where == "constructor":
                raise ArtifactMismatch("teacher t: another version")

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            raise ArtifactMismatch("teacher t: another version")

    def command() -> None:
        with ray_session():
            rows = ray.data.from_items([{"x": 1}])
            # No CPU: the error's traceback may keep the actor alive, and the next tests need both.
            one = ray.data.ActorPoolStrategy(size=1)
            rows.map_batches(Actor, compute=one, num_cpus=0).take_all()

    return command


@pytest.mark.parametrize("where", ["constructor", "batch"])
def test_the_error_of_an_actor_ends_a_command_as_if_it_had_been_raised_here(
    ray_cluster: None, where: str
) -> None:
    app = new_app("test")
    app.command()(clear_errors(failing(where)))
    ended = CliRunner().invoke(app, [])
    assert ended.exit_code == ArtifactMismatch.exit_code
    # The test's Ray shows what workers print; a command's own does not.
    assert "\nerror: teacher t: another version\n" in f"\n{ended.stderr}"
    assert isinstance(ended.exception, SystemExit)


def test_an_actor_that_never_fits_is_refused_instead_of_waited_for(
    ray_cluster: None, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("Some text.", encoding="utf-8")
    arguments = ["ingest", str(tmp_path / "a.txt"), "--store", str(tmp_path / "store")]
    ended = CliRunner().invoke(ingest_app, [*arguments, *ON_RAY, "embedding.threads=8"])
    assert ended.exit_code == 2
    assert "error: embedding.threads=8: needs 8 CPU, the cluster has 2" in ended.stderr
    with pytest.raises(ConfigError, match="gpus_per_actor=1: needs 1 GPU, the cluster has 0"):
        count_actors(None, "gpus_per_actor=1", cpus=1, gpus=1)
    assert count_actors(None, "cpus_per_actor=1", cpus=1) == 2
    assert count_actors(5, "cpus_per_actor=1", cpus=1) == 5


@pytest.mark.parametrize(("reason", "tries"), [("timed out during startup", 2), ("refused", 1)])
def test_a_start_that_was_too_slow_is_tried_once_more(
    monkeypatch: pytest.MonkeyPatch, reason: str, tries: int
) -> None:
    tried = []

    def init(**_: object) -> None:
        tried.append(1)
        if len(tried) == 1:
            raise Exception(f"The current node {reason}.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", init)
    if tries == 2:
        assert start_ray()
    else:
        with pytest.raises(ClusterError, match=r"Ray could not start on this machine: .*refused"):
            start_ray()
    assert len(tried) == tries
