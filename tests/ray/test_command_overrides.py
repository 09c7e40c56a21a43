"""Every command takes `section.key=value`."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rayraft.cli import build_app

COMMANDS = {
    "ingest": (["{missing}", "--store", "{missing}"], "chunking.chunk_tokens=120"),
    "search": (["words", "--store", "{missing}"], "candidates=100"),
    "raft": (["--store", "{missing}"], "teacher.max_new_tokens=8"),
    "refresh": (["--store", "{missing}", "--name", "s"], "gate.max_loss=0.01"),
    "drift": (["--store", "{missing}"], "changed_share=0.5"),
    "train": (["--store", "{missing}", "--dry-run"], "lora.r=8"),
    "tune": (["--store", "{missing}"], "search.lora_r=[8]"),
    "train-reranker": (["--store", "{missing}"], "train.epochs=2"),
    "train-embedder": (["--store", "{missing}"], "train.epochs=2"),
    "evaluate": (["--store", "{missing}", "--questions", "{missing}"], "max_new_tokens=8"),
    "compare": (["--store", "{missing}", "--questions", "{missing}"], "evaluate.k=3"),
    "advise": (["--store", "{missing}", "--questions", "{missing}"], "evaluate.k=3"),
    "router": (["--store", "{missing}"], "folds=4"),
    "serve": (["--store", "{missing}"], "retriever.retrieval.candidates=100"),
    "ask": (["Why?", "--store", "{missing}"], "api.max_new_tokens=8"),
    "demo": (["{missing}"], "train.lora.r=8"),
}


def run(command: str, override: str, folder: Path) -> tuple[int, str]:
    arguments = [text.format(missing=folder / "missing") for text in COMMANDS[command][0]]
    result = CliRunner().invoke(build_app(), [command, *arguments, override])
    return result.exit_code, result.output + result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_key_is_refused(command: str, tmp_path: Path) -> None:
    override = "train.nowhere=1" if command == "demo" else "nowhere=1"
    code, said = run(command, override, tmp_path)
    assert code == 2
    assert "unknown key nowhere" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_an_override_is_accepted_and_what_is_wrong_is_something_else(
    command: str, tmp_path: Path
) -> None:
    code, said = run(command, COMMANDS[command][1], tmp_path)
    if command == "train":
        assert code == 0
        assert "  r: 8" in said
        assert re.search(r"parameters +[\d,]+, of them trained [\d,]+ \(", said)
    else:
        assert code == 2
        assert "missing" in said and "unknown" not in said and "Usage" not in said


def test_a_value_out_of_bounds_names_field_and_value(tmp_path: Path) -> None:
    for command, override in [
        ("evaluate", "max_new_tokens=0"),
        ("search", "candidates=0"),
        ("evaluate", "gpus_per_actor=-1"),
        ("ask", "api.max_new_tokens=0"),
        ("demo", "evaluate.k=0"),
        ("demo", "stop=0"),
    ]:
        code, said = run(command, override, tmp_path)
        assert code == 2
        assert override.removeprefix("evaluate.") in said


def test_settings_of_another_process_are_refused(tmp_path: Path) -> None:
    asked = CliRunner().invoke(build_app(), ["ask", "Why?", "api.max_new_tokens=8"])
    assert asked.exit_code == 2
    assert "--store" in asked.stderr


def test_the_demo_hands_its_overrides_to_their_stages() -> None:
    from rayraft.demo.overrides import by_stage

    given = by_stage(["train.lora.r=8", "evaluate.k=6", "train.max_steps=3"])
    assert given["train"] == ["lora.r=8", "max_steps=3"]
    assert given["evaluate"] == ["k=6"]
    assert given["ingest"] == given["raft"] == given["serve"] == []


def test_an_option_of_evaluate_wins_over_an_override_and_that_over_the_file(
    tmp_path: Path,
) -> None:
    from train.evaluate_command import _settings

    path = tmp_path / "evaluate.yaml"
    path.write_text("k: 2\nmax_new_tokens: 7\nseed: 3\nmodes: [rag]\n", encoding="utf-8")
    options: dict[str, Any] = {"modes": None, "k": 9, "actors": None}
    settings = _settings(path, ["max_new_tokens=8", "k=5"], options, golden=True)
    assert (settings.k, settings.max_new_tokens, settings.seed) == (9, 8, 3)
    assert settings.modes == ("rag", "golden")
    options["modes"] = "closed_book, rag"
    assert _settings(path, [], options, golden=False).modes == ("closed_book", "rag")


def test_every_command_is_here_or_is_a_conversion_that_options_alone_decide() -> None:
    names = {info.name for info in build_app().registered_commands if info.name}
    assert names == {*COMMANDS, "export", "feedback"}
