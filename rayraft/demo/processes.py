"""The stages as child processes: what is typed is printed, and nothing outlives the demo.

Knows nothing of what the stages do.
"""

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from rich.console import Console

from rayraft.errors import RayraftError

logger = logging.getLogger(__name__)

POLITE_S = 20.0
"""How long a child may take to stop Ray after SIGINT before it is killed."""


class StageFailed(RayraftError):
    """A stage ended with a non-zero exit code."""


class Processes:
    """The children of one demo; leaving the context stops those that still run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in reversed(self._running):
            stop(child)

    def stage(self, arguments: Sequence[str]) -> float:
        """Seconds that `python -m ARGUMENTS` took; its output goes to the terminal.

        Raises:
            StageFailed: The command did not end with exit code 0.
        """
        command = module_command(arguments)
        self._announce(arguments)
        start = time.monotonic()
        with self._start(command, None) as child:
            code = child.wait()
        if code != 0:
            raise StageFailed(f"{shown(arguments)} ended with exit code {code}")
        return time.monotonic() - start

    @contextlib.contextmanager
    def service(self, arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """`python -m ARGUMENTS` in the background for as long as the context lasts."""
        self._announce(arguments)
        with log.open("wb") as output, self._start(module_command(arguments), output) as child:
            yield child

    @contextlib.contextmanager
    def _start(
        self, command: Sequence[str], output: IO[bytes] | None
    ) -> Iterator[subprocess.Popen[bytes]]:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            env=child_environment(),
            # A group of its own: Ctrl-C reaches the demo alone, which then stops its children.
            start_new_session=True,
        )
        self._running.append(child)
        try:
            yield child
        finally:
            stop(child)
            self._running.remove(child)

    def _announce(self, arguments: Sequence[str]) -> None:
        self._console.print()
        self._console.print(f"$ {shown(arguments)}", style="bold cyan", markup=False)


def module_command(arguments: Sequence[str]) -> list[str]:
    """The command line that runs a module with this interpreter."""
    return [sys.executable, "-m", *arguments]


def shown(arguments: Sequence[str]) -> str:
    """The command as a person would type it."""
    return shlex.join(["python", "-m", *arguments])


def child_environment() -> dict[str, str]:
    """The environment of a stage: ours, with this interpreter's programs on PATH.

    Ninja is looked up on PATH by torch, also where the virtual environment is not activated.
    Ray's token authentication is on by default; said explicitly, Ray does not warn of it.
    """
    programs = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        **os.environ,
        "PATH": os.pathsep.join([programs, path]),
        "PYTHONUNBUFFERED": "1",
    }


def stop(child: subprocess.Popen[bytes]) -> None:
    """Ends a child: SIGINT, so that it shuts Ray down; after `POLITE_S`, its whole group."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(timeout=POLITE_S)
        except subprocess.TimeoutExpired:
            logger.warning("process %d did not stop within %.0f s", child.pid, POLITE_S)
    # What it left behind in its own group, if anything.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
