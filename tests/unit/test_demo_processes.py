import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from rayraft.demo import processes
from rayraft.demo.processes import Processes, StageFailed, shown, stop
from rayraft.demo.run import MARKER, fresh_folder, newest_report
from rayraft.errors import InputError

WAITS = "import time, sys; print('up', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); " + WAITS


def child(code: str) -> subprocess.Popen[bytes]:
    started = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    assert started.stdout
    started.stdout.readline()
    started.stdout.close()
    return started


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=100)


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    (folder / "stage_under_test.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_stop_asks_with_sigint_first():
    waiting = child(WAITS)
    stop(waiting)
    assert waiting.returncode == -signal.SIGINT or waiting.returncode == 1


def test_stop_ends_a_child_that_does_not_listen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "POLITE_S", 0.2)
    deaf = child(DEAF)
    stop(deaf)
    assert deaf.returncode == -signal.SIGKILL


def test_a_stage_that_fails_is_named_with_its_exit_code(tmp_path, monkeypatch, console):
    module(tmp_path, monkeypatch, "raise SystemExit(3)")
    with Processes(console) as running, pytest.raises(StageFailed, match=r"stage_under.*code 3"):
        running.stage(["stage_under_test", "--store", "s"])


def test_a_stage_that_succeeds_tells_its_seconds(tmp_path, monkeypatch, console):
    module(tmp_path, monkeypatch, "import time; time.sleep(0.1)")
    with Processes(console) as running:
        assert 0.1 <= running.stage(["stage_under_test"]) < 30


def test_no_service_outlives_the_demo_even_if_it_fails(tmp_path, monkeypatch, console):
    module(tmp_path, monkeypatch, WAITS)
    with Processes(console) as running:
        context = running.service(["stage_under_test"], tmp_path / "log")
        with pytest.raises(ZeroDivisionError), context as service:
            deadline = time.monotonic() + 20
            while "up" not in (tmp_path / "log").read_text() and time.monotonic() < deadline:
                time.sleep(0.02)
            assert service.poll() is None
            raise ZeroDivisionError
    assert service.poll() is not None


def test_a_command_is_shown_as_it_would_be_typed():
    assert shown(["train", "fit", "a b"]) == "python -m train fit 'a b'"


def test_a_folder_with_other_peoples_files_is_not_emptied(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="--work"):
        fresh_folder(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_the_folder_of_an_earlier_demo_is_emptied(tmp_path: Path):
    work = fresh_folder(tmp_path / "demo")
    (work / "old").mkdir()
    assert [path.name for path in fresh_folder(work).iterdir()] == [MARKER]


def test_the_newest_report_is_the_one_written_last(tmp_path: Path):
    for age, run in enumerate(["b", "a"]):
        (tmp_path / run).mkdir()
        (tmp_path / run / "report.json").write_text(f'{{"run": "{run}"}}')
        os.utime(tmp_path / run / "report.json", (1000 - age, 1000 - age))
    assert newest_report(tmp_path) == {"run": "b"}
