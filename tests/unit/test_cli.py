"""The console script: every stage's commands under one name, each with help that has examples."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rayraft
from rayraft.cli import COMMANDS, build_app

ROOT = Path(__file__).parents[2]
NAMES = [*(mounted.name for mounted in COMMANDS), "version"]


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(build_app(), list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_help_names_every_command():
    code, out, _ = invoke("--help")

    assert code == 0
    assert [name for name in NAMES if not re.search(rf"\b{name}\b", out)] == []


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_command_has_an_example_with_its_own_name(name: str):
    code, out, _ = invoke(name, "--help")

    assert code == 0
    assert "Example" in out
    example = " ".join(out.split("Example", 1)[1].split())
    assert f"rayraft {name}" in example


def test_version_is_the_packages():
    assert invoke("version")[:2] == (0, f"rayraft {rayraft.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["no-such-command"], "no-such-command"),
        (["ingest", "--no-such-option"], "--no-such-option"),
    ],
)
def test_what_is_not_there_is_a_usage_error_on_stderr(arguments: list[str], named: str):
    code, out, err = invoke(*arguments)

    assert code == 2
    assert out == ""
    assert named in err


def test_a_stages_error_is_one_line_on_stderr_with_its_exit_code(tmp_path: Path):
    missing = tmp_path / "no-such-folder"
    result = subprocess.run(
        [sys.executable, "-m", "rayraft.cli", "ingest", str(missing), "--store", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert result.returncode == 2
    assert result.stdout == ""
    assert re.fullmatch(r"error: .*no-such-folder.*\n", result.stderr)
    assert list(tmp_path.iterdir()) == []
