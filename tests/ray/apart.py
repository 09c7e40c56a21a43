"""Runs a module with a Ray of its own, apart from the session's, and reads what it found."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def found_by(module: str, folder: Path, timeout_s: float) -> dict[str, Any]:
    """`folder/found.json` of `python -m module folder TEMP`; its whole process group is ended."""
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp", ignore_cleanup_errors=True) as temp:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(folder), temp],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        try:
            _, errors = process.communicate(timeout=timeout_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its Ray
            process.wait()
    assert process.returncode == 0, errors
    record: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return record
