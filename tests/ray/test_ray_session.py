"""What a command says when Ray cannot be reached."""

import os
import subprocess
import sys
from pathlib import Path

from rayraft.errors import ClusterError


def test_a_cluster_that_is_not_there_is_one_line_and_its_own_exit_code(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some text.", encoding="utf-8")
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "data_pipelines", "ingest", str(tmp_path / "a.txt")),
            *("--store", str(tmp_path / "store")),
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
