"""Converters in a process of their own: what hangs or grows there is ended, and nothing else is.

One process serves many documents, because importing the converters takes seconds.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from data_pipelines.config import ReadingConfig
from data_pipelines.converters import Unreadable

_ROOT = Path(__file__).parent.parent


class Sandbox:
    """A child process that converts one document at a time; started when it is first needed."""

    def __init__(self, memory_mb: int) -> None:
        self._memory_mb = memory_mb
        self._process: subprocess.Popen[bytes] | None = None

    def convert(self, suffix: str, data: bytes, config: ReadingConfig) -> str:
        """Markdown of a file's content.

        Raises:
            Unreadable: The converter fails, takes longer than `timeout_s`, or needs too much
                memory.
        """
        process = self._running()
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(config.timeout_s, end)
        timer.start()
        try:
            reply = _ask(process, {"suffix": suffix, "max_pages": config.max_pages}, data)
        except (OSError, ValueError) as exc:
            self.close()
            if late.is_set():
                raise Unreadable(f"took longer than timeout_s={config.timeout_s:g}") from exc
            raise Unreadable(f"the converter of {suffix[1:]} died of it") from exc
        finally:
            timer.cancel()
        if "reason" in reply:
            raise Unreadable(reply["reason"])
        return reply["text"]

    def close(self) -> None:
        """Ends the child."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "data_pipelines.sandbox_child", str(self._memory_mb)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        return self._process


def _ask(
    process: "subprocess.Popen[bytes]", header: dict[str, object], data: bytes
) -> dict[str, str]:
    assert process.stdin is not None and process.stdout is not None
    write_message(process.stdin, {**header, "size": len(data)}, data)
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        raise OSError("no reply")
    reply: dict[str, str] = json.loads(line)
    return reply


def write_message(stream: IO[bytes], header: dict[str, object], data: bytes = b"") -> None:
    """One line of JSON, then the bytes."""
    stream.write(json.dumps(header).encode() + b"\n" + data)
    stream.flush()


_sandboxes: dict[int, Sandbox] = {}


def convert_apart(suffix: str, data: bytes, config: ReadingConfig) -> str:
    """`Sandbox.convert` in this process's own sandbox."""
    sandbox = _sandboxes.get(config.max_memory_mb)
    if sandbox is None:
        sandbox = _sandboxes[config.max_memory_mb] = Sandbox(config.max_memory_mb)
        atexit.register(sandbox.close)
    return sandbox.convert(suffix, data, config)
