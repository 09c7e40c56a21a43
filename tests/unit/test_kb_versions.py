"""The knowledge base's history: back is forward, old versions go, and what is forgotten is gone."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from data_pipelines import kb_versions
from data_pipelines.artifacts import listing, publish
from data_pipelines.config import ChunkingConfig
from data_pipelines.forget import forget
from data_pipelines.ingest import delete_document, ingest_documents
from data_pipelines.kb import KnowledgeBase
from data_pipelines.raft_reading import SPLITS
from data_pipelines.raft_staging import Staging
from rayraft.cli import build_app
from rayraft.errors import InputError, NotFoundError
from rayraft.manifests import Manifest
from rayraft.records import Document
from tests.ray.hash_embedder import SPEC, HashEmbedder

CHUNKING = ChunkingConfig(chunk_tokens=16)
NOW = timedelta(0)


def put(store: str, *ids: str, text: str = "word") -> int:
    kb = KnowledgeBase.create_or_open(store, SPEC)
    documents = [Document(document_id=i, text=f"{text} of {i}. " * 12) for i in ids]
    return ingest_documents(documents, kb, HashEmbedder(), CHUNKING)


def rows(store: str, version: int | None = None) -> list[dict[str, object]]:
    table = KnowledgeBase.open(store, version).read_chunks()
    return sorted(table.to_pylist(), key=lambda row: str(row["chunk_id"]))


def run(store: str, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(build_app(), ["kb", *arguments, "--store", store])
    return result.exit_code, result.output


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def adapter_of(store: str, version: int, documents: Sequence[str] = ()) -> str:
    """An adapter trained on examples that show these documents."""
    shown = [{"document_id": document_id} for document_id in documents]
    examples = pa.table({"document_id": [*documents][:1], "passages": [shown][: len(shown)]})
    sink = pa.BufferOutputStream()
    pq.write_table(examples, sink)
    files: dict[str, bytes | Path] = {
        f"{split}.parquet": sink.getvalue().to_pybytes() for split in SPLITS
    }
    name = f"run{len(listing(store, 'raft'))}"
    raft = publish(store, "raft", name, files, Manifest(kind="raft"))
    manifest = Manifest(kind="adapter", kb_version=version, made_from=[f"raft/{raft.artifact_id}"])
    return publish(store, "adapter", "a", {"x": b"x"}, manifest).artifact_id


def test_forget_names_what_was_trained_on_the_document(store: str):
    version = put(store, "a", "b", "c")
    first = adapter_of(store, version, ["a", "b"])
    second = adapter_of(store, version, ["b"])
    adapter_of(store, version)
    done = forget(store, "b")
    assert (sorted(done.adapters), sorted(done.runs)) == ([first, second], ["run0", "run1"])
    assert KnowledgeBase.open(store).document_hashes().keys() == {"a", "c"}
    assert forget(store, "c").adapters == []


def test_a_rollback_is_a_new_version_that_retrievers_can_follow(store: str):
    old = put(store, "a", "b", "c")
    put(store, "a", text="other")
    delete_document("b", KnowledgeBase.open(store))
    before = put(store, "d")
    assert kb_versions.diff(store, old, before) == kb_versions.Difference(["d"], ["a"], ["b"])
    follower = KnowledgeBase.open(store)
    seen = {str(row["chunk_id"]): row for row in rows(store)}
    new = kb_versions.rollback(store, old)

    assert new > before
    assert rows(store) == rows(store, old)
    assert kb_versions.diff(store, old, new) == kb_versions.Difference([], [], [])
    since = follower.version
    follower.checkout_latest()
    delta = follower.delta(since)
    for row in delta.upserted.to_pylist():
        seen[row["chunk_id"]] = {name: row[name] for name in rows(store)[0]}
    left = [row for i, row in seen.items() if i not in delta.removed_chunk_ids]
    assert sorted(left, key=lambda row: str(row["chunk_id"])) == rows(store)
    hits = [i for i, _ in follower.full_text_search("other", 9)]
    assert hits == []


def test_compact_keeps_tagged_versions_those_of_adapters_and_the_newest(store: str):
    made = [put(store, "a", text=f"text{n}") for n in range(6)]
    content = rows(store)
    kb_versions.tag(store, "good", made[1])
    adapter_of(store, made[2])
    assert kb_versions.compact(store, 1, timedelta(days=1)).versions_removed == 0
    done = kb_versions.compact(store, 2, NOW)

    assert done.versions_removed > 0 < done.bytes_freed
    assert {made[1], made[2]} < set(done.kept)
    with pytest.raises(NotFoundError, match=str(made[0])):
        KnowledgeBase.open(store, made[0])
    assert rows(store) == content
    kb = KnowledgeBase.open(store)
    assert kb.delta(made[2]).upserted.num_rows == len(content)  # an adapter's staleness
    assert kb.unindexed_chunks() == 0
    assert rows(store, kb_versions.version_of(store, "good")) != content


def test_a_purged_document_is_in_no_file_of_the_knowledge_base(store: str):
    put(store, "a", text="zebrafinch")
    put(store, "a", text="harmless")
    put(store, "b", text="quetzal")
    kb = KnowledgeBase.open(store)
    kb_versions.tag(store, "old", 3)
    assert forget(store, "b").versions
    with pytest.raises(NotFoundError, match="'none'"):
        forget(store, "none")
    with pytest.raises(InputError, match=r"old .version 3"):
        forget(store, "b", purge_versions=True)
    kb_versions.untag(store, "old")
    staged = Staging(store, "killed")
    staged.add({"chunk_id": "b#0", "quote": "quetzal"})
    staged.flush()
    copy = Path(store) / "workspaces" / "before-1" / "kb"
    copy.mkdir(parents=True)
    (copy / "data.lance").write_bytes(b"quetzal")
    done = forget(store, "b", purge_versions=True)  # deleted already: its versions go

    assert (done.versions, done.adapters, done.runs) == ([], [], [])
    assert done.leftovers == ["raft/.unfinished", "workspaces"]
    assert done.compacted and done.compacted.kept == [done.kb_version]
    for path in Path(store).rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert b"quetzal" not in data and b"zebrafinch" not in data, path
    kb.checkout_latest()
    assert [i for i, _ in kb.full_text_search("harmless", 1)] and not kb.full_text_search("b", 1)


def test_the_commands_say_what_they_did(store: str):
    first, second = put(store, "a"), put(store, "b")
    assert run(store, "tag", "start", "--version", str(first)) == (
        0,
        f"start is version {first}\n",
    )
    code, said = run(store, "log")
    assert code == 0
    assert f"{first:>6}" in said and "[start]" in said and "2 documents" in said
    code, said = run(store, "diff", "start", str(second))
    assert (code, said) == (0, "+ b\n1 added, 0 changed, 0 removed\n")
    code, said = run(store, "rollback", "start")
    assert code == 0 and f"holds the documents of version {first}" in said
    assert KnowledgeBase.open(store).document_hashes().keys() == {"a"}
    assert run(store, "compact", "--keep", "1", "--older-than-days", "0")[0] == 0
    code, said = run(store, "forget", "a")
    assert code == 0 and "--purge" in said
    assert run(store, "untag", "start")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [("rollback", "nowhere"), ("diff", "1", "999"), ("untag", "7"), ("tag", "7"), ("forget", "z")],
)
def test_what_is_not_there_is_one_line_and_exit_code_2(store: str, arguments: tuple[str, ...]):
    put(store, "a")
    result = CliRunner().invoke(build_app(), ["kb", *arguments, "--store", store])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
