"""Promotions, deletions, and the commands about published adapters."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_pipelines.artifacts import ArtifactRef, delete, listing, publish
from data_pipelines.champions import FOLDER, champions, promote, promotions, rollback, withdraw
from data_pipelines.published_adapters import default_adapter, fitting_adapters
from rayraft.cli import build_app
from rayraft.errors import ArtifactMismatch, InputError, NotFoundError
from rayraft.manifests import Manifest
from rayraft.prompts import prompt_digest


def add(store: Path, name: str, method: str, **config: object) -> ArtifactRef:
    manifest = Manifest(
        kind="adapter",
        kb_version=4,
        base_digest="base",
        prompt_digest=prompt_digest(),
        made_from=["raft/run"],
        config={"method": method, "lora": {"r": 8}, **config},
        metrics={"rows": 10, "validation_loss": 0.5},
    )
    return publish(str(store), "adapter", name, {"w": b"x"}, manifest)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three versions that read and one that remembers."""
    for rank in (4, 8, 16):
        add(tmp_path, "reader", "raft", seed=rank)
    add(tmp_path, "memory", "sft")
    return tmp_path


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(build_app(), ["adapters", *arguments])
    return result.exit_code, result.stdout, result.stderr


def answering(store: Path, role: str) -> str:
    chosen = default_adapter(fitting_adapters(str(store), "base"), role)  # type: ignore[arg-type]
    assert chosen is not None
    return chosen.ref.artifact_id


def test_the_newest_answers_until_one_is_promoted_and_again_after_a_rollback(store: Path):
    assert (answering(store, "reading"), answering(store, "memory")) == ("reader-v3", "memory-v1")
    assert promote(str(store), "reader-v1") == ["reading"]
    promote(str(store), "reader-v2", "better")
    add(store, "reader", "raft")
    assert (answering(store, "reading"), answering(store, "memory")) == ("reader-v2", "memory-v1")
    assert rollback(str(store), "reading") == "reader-v1"
    assert answering(store, "reading") == "reader-v1"
    assert rollback(str(store), "reading") is None
    assert answering(store, "reading") == "reader-v4"
    with pytest.raises(NotFoundError, match="reading"):
        rollback(str(store), "reading")


def test_a_mixed_adapter_is_promoted_to_both_roles(store: Path):
    add(store, "both", "mixed")
    assert promote(str(store), "both") == ["reading", "memory"]
    assert champions(str(store)) == {"reading": "both-v1", "memory": "both-v1"}
    assert (answering(store, "reading"), answering(store, "memory")) == ("both-v1", "both-v1")
    assert rollback(str(store), "memory") is None
    assert champions(str(store)) == {"reading": "both-v1"}


def test_what_cannot_be_promoted_is_refused_and_nothing_is_written(store: Path):
    add(store, "other", "unheard-of")
    for adapter, error in (("other-v1", InputError), ("none-v1", NotFoundError)):
        with pytest.raises(error, match=adapter):
            promote(str(store), adapter)
    assert promotions(str(store)) == []
    (store / FOLDER).mkdir()
    (store / FOLDER / "1-x.json").write_text('{"made": [{}]}')
    with pytest.raises(ArtifactMismatch, match=r"1-x\.json"):
        champions(str(store))


def test_promotions_at_the_same_time_lose_nothing(store: Path):
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda n: promote(str(store), f"reader-v{n % 3 + 1}", str(n)), range(40)):
            pass
    assert sorted(int(p.note) for p in promotions(str(store))) == list(range(40))
    assert not list((store / FOLDER).glob("*.tmp"))


def test_what_was_promoted_later_counts_whatever_another_machines_clock_says(
    store: Path, monkeypatch: pytest.MonkeyPatch
):
    promote(str(store), "reader-v1")
    monkeypatch.setattr("data_pipelines.champions.time.time_ns", lambda: 5)
    promote(str(store), "reader-v2")
    assert champions(str(store)) == {"reading": "reader-v2"}
    withdraw(str(store), ["reader-v2", "memory-v1"])
    assert champions(str(store)) == {"reading": "reader-v1"}


def test_a_champion_for_another_base_model_leaves_the_newest_to_answer(store: Path):
    promote(str(store), "reader-v1")
    manifest = store / "adapters/reader/1/manifest.json"
    manifest.write_text(manifest.read_text().replace('"base_digest": "base"', '"base_digest": "x"'))
    assert answering(store, "reading") == "reader-v3"


def test_a_deleted_adapters_number_is_not_given_again(store: Path):
    newest = listing(str(store), "adapter", "reader")[-1]
    delete(newest)
    assert [ref.version for ref in listing(str(store), "adapter", "reader")] == [1, 2]
    assert not (store / "adapters/reader/3/w").exists()
    assert add(store, "reader", "raft").artifact_id == "reader-v4"
    with pytest.raises(NotFoundError):
        delete(newest)


def test_the_commands_list_promote_roll_back_and_delete(store: Path):
    at = ("--store", str(store))
    assert run("promote", "reader-v1", *at, "--note", "F1 +0.03") == (
        0,
        "reader-v1 is the champion for reading\n",
        "",
    )
    code, out, _ = run("list", *at)
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0
    assert lines.keys() == {"adapter", "reader-v1", "reader-v2", "reader-v3", "memory-v1"}
    assert " reading " in lines["reader-v1"] and " reading " not in lines["reader-v2"]
    code, out, _ = run("show", "reader-v1", *at)
    assert code == 0 and "to reading: F1 +0.03" in out and "raft/run" in out
    for arguments, named in [
        (("delete", "reader-v1", *at), "promoted"),
        (("delete", "reader", *at), "reader-v3"),
        (("delete", "none-v1", *at), "none-v1"),
        (("rollback", *at, "--role", "king"), "king"),
        (("show", "reader-v9", *at), "reader-v9"),
        (("list", "--store", str(store / "empty")), "no adapter"),
    ]:
        code, out, err = run(*arguments)
        assert (code, out) == (2, ""), arguments
        assert err.startswith("error: ") and named in err
    assert run("rollback", *at)[1] == "reading: no champion, the newest adapter answers now\n"
    assert run("delete", "reader-v1", *at)[0] == 0
    assert "reader-v1" not in run("list", *at)[1]


def test_compare_shows_what_differs_and_nothing_else(store: Path):
    code, out, _ = run("compare", "reader-v1", "memory", "--store", str(store))
    assert code == 0
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:]}
    assert rows == {"method": ["raft", "sft"], "seed": ["4", "-"]}


def test_show_says_how_an_adapter_did_in_evaluations(store: Path):
    figures = {"adapters": ["reader-v2"], "token_f1": 0.5123, "exact_match": None}
    report = json.dumps({"n": 7, "modes": {"raft": figures, "rag": {"adapters": []}}}).encode()
    manifest = Manifest(kind="eval", made_from=["adapters/reader-v2"])
    publish(str(store), "eval", "e1", {"report.json": report}, manifest)
    said = run("show", "reader-v2", "--store", str(store))[1]
    assert "e1: raft, 7 questions, token F1 0.5123, exact match -" in said
    assert "evaluation" not in run("show", "reader-v1", "--store", str(store))[1]


@pytest.mark.parametrize("name", ["list", "show", "compare", "promote", "rollback", "delete"])
def test_every_command_has_an_example(name: str):
    code, out, _ = run(name, "--help")
    assert code == 0 and f"rayraft adapters {name}" in " ".join(out.split())
