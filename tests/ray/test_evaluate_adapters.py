import pytest

from data_pipelines.artifacts import publish
from rayraft.errors import ArtifactMismatch, NotFoundError
from rayraft.manifests import Manifest
from rayraft.models.base_files import base_digest
from rayraft.prompts import prompt_digest
from rayraft.protocols import AdapterRef
from train.evaluate_adapters import choose_adapters
from train.evaluate_config import EvaluateConfig


def add(store, name, method="raft", **values):
    fields = {
        "kind": "adapter",
        "kb_version": 4,
        "base_digest": base_digest("mini"),
        "prompt_digest": prompt_digest(),
        "config": {"method": method},
    }
    return publish(str(store), "adapter", name, {"w": b"x"}, Manifest(**{**fields, **values}))


def chosen(store, **settings):
    found = choose_adapters(str(store), EvaluateConfig(**settings))
    return tuple(a and a.ref.artifact_id for a in (found.raft, found.closed_book))


def test_newest_of_each_method_is_used_without_a_name(tmp_path):
    add(tmp_path, "memory", "sft")
    add(tmp_path, "reader", "raft")
    add(tmp_path, "reader", "raft")
    assert chosen(tmp_path) == ("reader-v2", "memory-v1")
    assert chosen(tmp_path, modes=("closed_book",)) == (None, "memory-v1")
    assert chosen(tmp_path, modes=("rag", "golden")) == (None, None)


def test_one_adapter_of_both_methods_serves_all_modes(tmp_path):
    add(tmp_path, "both", "mixed")
    assert chosen(tmp_path) == ("both-v1", "both-v1")
    assert len(choose_adapters(str(tmp_path), EvaluateConfig()).distinct()) == 1


def test_closed_book_takes_the_reading_adapter_when_there_is_no_other(tmp_path):
    add(tmp_path, "reader", "raft")
    assert chosen(tmp_path) == ("reader-v1", "reader-v1")


def test_a_named_adapter_wins_and_may_carry_its_number(tmp_path):
    for _ in range(3):
        add(tmp_path, "reader", "raft")
    add(tmp_path, "memory", "sft")
    assert chosen(tmp_path, adapter="reader-v2") == ("reader-v2", "reader-v2")
    assert chosen(tmp_path, adapter="reader", adapter_closed_book="memory") == (
        "reader-v3",
        "memory-v1",
    )
    found = choose_adapters(str(tmp_path), EvaluateConfig(adapter="reader-v2"))
    assert found.raft is not None and found.raft.reference == AdapterRef("reader-v2", 4)


def test_adapters_of_another_base_or_other_prompts_are_never_chosen(tmp_path):
    add(tmp_path, "reader", "raft")
    add(tmp_path, "foreign", "raft", base_digest="0" * 64)
    add(tmp_path, "outdated", "raft", prompt_digest="0" * 64)
    assert chosen(tmp_path, modes=("raft",)) == ("reader-v1", None)
    with pytest.raises(ArtifactMismatch, match="foreign-v1: trained with other base model"):
        chosen(tmp_path, adapter="foreign")


def test_one_broken_manifest_does_not_fail_the_evaluation(tmp_path):
    add(tmp_path, "reader", "raft")
    add(tmp_path, "broken", "raft")
    (tmp_path / "adapters/broken/1/manifest.json").write_text("{")
    assert chosen(tmp_path, modes=("raft",)) == ("reader-v1", None)


def test_raft_without_an_adapter_says_what_to_do_and_unknown_ones_what_there_is(tmp_path):
    with pytest.raises(NotFoundError, match=r"mode raft: .*published: none.*--adapter"):
        chosen(tmp_path)
    assert chosen(tmp_path, modes=("closed_book", "rag", "auto")) == (None, None)
    add(tmp_path, "memory", "sft")
    with pytest.raises(NotFoundError, match=r"published: memory-v1"):
        chosen(tmp_path, modes=("raft",))
    with pytest.raises(NotFoundError, match=r"no adapter 'reader-v9'; there is memory-v1"):
        chosen(tmp_path, adapter="reader-v9")
