"""Which code made an artifact, and when."""

import functools
import subprocess
import time
from pathlib import Path

import rayraft


def utc_now() -> str:
    """The time now as every record of this project has it: UTC, ISO 8601, seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@functools.cache
def code_commit() -> str | None:
    """The git commit of the code, with `-dirty` where files differ; None if this is no checkout."""
    root = Path(rayraft.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    # --exclude: never a tag's name, always the whole commit.
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        told = subprocess.run(
            [*command, "--exclude=*"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None
