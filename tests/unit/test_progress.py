"""Progress as lines, where nobody watches a terminal."""

import io

import pytest
from rich.console import Console

from data_pipelines.progress import progress_bar


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("data_pipelines.progress.time.monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_now_and_then_and_the_last_one(clock):
    output = io.StringIO()
    with progress_bar("rows", Console(file=output, width=200)) as advance:
        for done in range(1, 101):
            clock[0] += 1
            advance(done, 100, "loss [0.5]")
        advance(100, 100)
    lines = output.getvalue().splitlines()
    assert lines[0] == "rows 30/100 after 30 s  loss [0.5]"
    assert lines[-1] == "rows 100/100 after 100 s  loss [0.5]"
    assert len(lines) == 4


def test_a_terminal_gets_a_bar():
    output = io.StringIO()
    console = Console(file=output, width=100, force_terminal=True)
    with progress_bar("rows", console) as advance:
        advance(3, 10, "loss 0.5")
    assert "3/10" in output.getvalue() and "loss 0.5" in output.getvalue()
