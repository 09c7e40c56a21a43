"""What a change costs: unchanged files, documents and chunks are neither read, cut nor embedded."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import data_pipelines.ingest_chunking as chunking_module
import data_pipelines.ingest_job as job
import data_pipelines.vector_making as vector_making
from data_pipelines.config import ChunkingConfig, IngestConfig
from data_pipelines.embedding_staging import StagedVectors
from data_pipelines.ingest import ingest_documents, stored_chunking
from data_pipelines.ingest_inputs import RunOptions
from data_pipelines.ingest_job import run_ingest
from data_pipelines.ingest_report import IngestReport
from data_pipelines.kb import KnowledgeBase
from data_pipelines.known_vectors import KnownVectors, text_key
from data_pipelines.quarantine import Rejected, read_quarantine
from data_pipelines.sync import plan_removals
from rayraft.errors import InputError
from rayraft.records import Document
from tests.ray.hash_embedder import SPEC, HashEmbedder

WORDS = "one two three four five six seven eight nine ten eleven twelve"
PARAGRAPHS = [f"{WORDS} in paragraph {n}." for n in range(30)]


class Counting(HashEmbedder):
    """Notes every text it embeds."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.texts += texts
        return super().embed(texts)


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """In the job's place for a model."""
    counting = Counting()
    monkeypatch.setattr(job, "load_tokenizer", lambda name: counting)
    monkeypatch.setattr(chunking_module, "load_tokenizer", lambda name: counting)
    monkeypatch.setattr(vector_making, "load_model", lambda name: counting)
    return counting


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name in "abcde":
        write(folder / f"{name}.txt", "\n\n".join([f"The file {name}.", *PARAGRAPHS]))
    return folder


def write(path: Path, text: str) -> None:
    path.write_text(text)
    hour_ago = path.stat().st_mtime - 3600
    os.utime(path, (hour_ago, hour_ago + len(text)))  # settled, and another time for another text


def ingest(folder: Path, config: IngestConfig | None = None, **options: bool) -> IngestReport:
    store = str(folder.parent / "store")
    return run_ingest([str(folder)], store, config or IngestConfig(), options=RunOptions(**options))  # type: ignore[arg-type]


def kb_of(folder: Path) -> KnowledgeBase:
    return KnowledgeBase.open(str(folder.parent / "store"))


def test_an_edit_of_one_paragraph_embeds_its_chunk_alone(folder: Path, embedder: Counting):
    first = ingest(folder)
    assert first.embedded == len(embedder.texts) == first.chunks > 10
    embedder.texts.clear()
    paragraphs = [*PARAGRAPHS]
    paragraphs[20] = paragraphs[20].replace("one", "uno")
    write(folder / "c.txt", "\n\n".join(["The file c.", *paragraphs]))
    second = ingest(folder)

    assert (second.changed, second.unchanged, second.files_read) == (1, 4, 1)
    assert second.chunks > second.embedded == 1
    [text] = embedder.texts
    assert "uno two three" in text
    rows = kb_of(folder).read_chunks(["search_text", "embedding"]).to_pylist()
    for row in rows:  # every vector is that of its text, new or not
        assert np.array_equal(row["embedding"], HashEmbedder().embed([row["search_text"]])[0])


def test_unchanged_files_are_not_opened_and_a_lost_store_is_filled_again(
    folder: Path, embedder: Counting
):
    write(folder / "bad.txt", "a\0b")
    first = ingest(folder)
    second = ingest(folder)
    assert (first.files_read, second.files_read) == (6, 0)
    assert (second.unchanged, second.quarantined) == (5, 1)
    assert second.kb_version == first.kb_version

    from data_pipelines.ingest import delete_document

    delete_document("a.txt", kb_of(folder))
    third = ingest(folder)
    assert (third.added, third.unchanged, third.files_read) == (1, 4, 1)
    cut = IngestConfig(chunking=ChunkingConfig(chunk_tokens=50))
    assert ingest(folder, cut).changed == 5


def test_a_sync_removes_what_is_gone_and_refuses_to_empty_the_store(
    folder: Path, embedder: Counting
):
    ingest(folder)
    (folder / "a.txt").unlink()
    assert ingest(folder).removed == 0
    asked = ingest(folder, sync=True, dry_run=True)
    assert (asked.removed, asked.unchanged, len(kb_of(folder).document_hashes())) == (1, 4, 5)
    assert ingest(folder, sync=True).removed == 1
    assert kb_of(folder).document_hashes().keys() == {"b.txt", "c.txt", "d.txt", "e.txt"}

    write(folder / "e.txt", "a\0b")  # unreadable now: its last version stays
    (folder / "b.txt").rename(folder / "renamed.txt")
    (folder / "c.txt").unlink()
    version = kb_of(folder).version
    with pytest.raises(InputError, match=r"2 of 4 .*max_removed_share=0\.2.*=0\.5"):
        ingest(folder, sync=True)
    assert kb_of(folder).version == version
    embedder.texts.clear()
    allowed = IngestConfig.model_validate({"sync": {"max_removed_share": 0.5}})
    ingest(folder, allowed, sync=True)
    assert kb_of(folder).document_hashes().keys() == {"d.txt", "e.txt", "renamed.txt"}
    assert len(embedder.texts) > 0  # a title is part of what is embedded


def test_a_dry_run_changes_nothing_and_says_what_would_be(folder: Path, embedder: Counting):
    write(folder / "bad.txt", "a\0b")
    report = ingest(folder, dry_run=True)
    assert (report.added, report.quarantined, report.kb_version) == (5, 1, None)
    assert report.embedded == report.chunks > 0
    assert not embedder.texts
    assert not (folder.parent / "store").exists()
    done = ingest(folder)
    assert (done.chunks, done.embedded) == (report.chunks, report.embedded)
    assert read_quarantine(str(folder.parent / "store")).num_rows == 1


def test_a_commit_that_fails_leaves_its_vectors_for_the_next_run(
    folder: Path, embedder: Counting, monkeypatch: pytest.MonkeyPatch
):
    def fail(*args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("data_pipelines.embedding_staging.FLUSH_S", 0.0)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(job, "commit_rows", fail)
        ingest(folder)
    assert embedder.texts
    embedder.texts.clear()
    report = ingest(folder)
    assert (report.added, report.embedded, embedder.texts) == (5, 0, [])
    vector = kb_of(folder).read_chunks(["search_text", "embedding"]).to_pylist()[3]
    assert np.array_equal(vector["embedding"], HashEmbedder().embed([vector["search_text"]])[0])


def test_staged_vectors_come_back_and_a_broken_file_counts_for_nothing(tmp_path: Path):
    generator = np.random.default_rng(0)
    vectors = generator.random((3, SPEC.dim), dtype=np.float32)
    keys = [text_key(text) for text in "abc"]
    staged = StagedVectors(str(tmp_path), SPEC)
    staged.add(keys, vectors)
    staged.flush()
    [path] = tmp_path.rglob("*.parquet")
    (path.parent / "cut.parquet").write_bytes(path.read_bytes()[:-9])
    other = StagedVectors(str(tmp_path), SPEC)
    known = KnownVectors(SPEC.dim)
    assert other.load(known) == 3
    assert np.array_equal(known.take([keys[2], keys[0], keys[2]]), vectors[[2, 0, 2]])
    assert known.missing([keys[0], b"x", b"x", b"y"]) == [1, 3]
    other.clear()
    assert not path.exists()


def test_documents_of_a_file_that_is_partly_unreadable_stay():
    stored = {"1": "f.jsonl:1", "2": "f.jsonl:2", "3": "g.jsonl:1", "4": "a.zip!x.md", "5": "h:5/k"}
    rejected = [Rejected(uri="f.jsonl:7", reason="broken"), Rejected(uri="a.zip", reason="broken")]
    assert plan_removals(stored, {"1"}, rejected) == ["3", "5"]
    assert plan_removals(stored, {"1", "3"}, [Rejected(uri="h:5/k", reason="")]) == ["2", "4"]


def test_a_write_without_settings_is_cut_as_the_store_is(tmp_path: Path):
    kb = KnowledgeBase.create_or_open(str(tmp_path), SPEC)
    assert stored_chunking(kb) == ChunkingConfig()
    config = ChunkingConfig(chunk_tokens=20, strategy="sentence")
    text = " ".join(PARAGRAPHS[:6])
    ingest_documents([Document(document_id="a", text=text)], kb, HashEmbedder(), config)
    ingest_documents([Document(document_id="b", text=text)], kb, HashEmbedder())

    assert stored_chunking(kb) == config
    rows = kb.read_chunks(["document_id", "text"]).to_pylist()
    texts = {i: [row["text"] for row in rows if row["document_id"] == i] for i in "ab"}
    assert texts["a"] == texts["b"] and len(texts["a"]) > 3


def test_two_ingests_at_once_lose_nothing(folder: Path, embedder: Counting):
    other = folder.parent / "others"
    other.mkdir()
    for n in range(5):
        write(other / f"other{n}.txt", f"Another text, number {n}.")
    ingest(folder)
    write(folder / "a.txt", "It says something else.")
    store = str(folder.parent / "store")
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(run_ingest, [str(path)], store, IngestConfig()) for path in (folder, other)
        ]
        first, second = (run.result() for run in runs)

    assert (first.changed, second.added) == (1, 5)
    kb = kb_of(folder)
    assert len(kb.document_hashes()) == 10
    assert kb.document("a.txt").text == "It says something else."
    ids = kb.read_chunks(["chunk_id"])["chunk_id"].to_pylist()
    assert len(ids) == len(set(ids))
    assert ingest(folder).unchanged == 5
