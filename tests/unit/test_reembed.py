"""Another embedder: one switch, nothing mixed, and what others write meanwhile is in it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import data_pipelines.reembed as module
import data_pipelines.vector_making as vector_making
from data_pipelines import kb_versions
from data_pipelines.config import ChunkingConfig
from data_pipelines.ingest import ingest_documents
from data_pipelines.kb import KnowledgeBase
from data_pipelines.reembed import reembed
from rayraft.errors import ArtifactMismatch, ConcurrentWrite, ConfigError
from rayraft.models.embedder_tokenizer import EmbedderTokenizer
from rayraft.models.spec import EmbedderSpec
from rayraft.records import Document
from tests.ray.hash_embedder import SPEC, HashEmbedder

OTHER = EmbedderSpec(name="other", digest="1" * 64, dim=64, max_tokens=512)
"""Of the same size: only its name and digest tell that its vectors are others."""


class Other(HashEmbedder):
    """Other vectors than `HashEmbedder`; notes what it embeds."""

    def __init__(self) -> None:
        super().__init__(OTHER)
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.texts += texts
        return -super().embed(texts)


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Other:
    embedder = Other()
    monkeypatch.setattr(module, "load_tokenizer", lambda name: embedder)
    monkeypatch.setattr(vector_making, "load_model", lambda name: embedder)
    return embedder


@pytest.fixture
def store(tmp_path: Path) -> str:
    store = str(tmp_path)
    put(KnowledgeBase.create_or_open(store, SPEC), *"abc")
    return store


def put(kb: KnowledgeBase, *ids: str) -> int:
    documents = [Document(document_id=i, text=f"Word of {i}. " * 20) for i in ids]
    return ingest_documents(documents, kb, HashEmbedder(), ChunkingConfig(chunk_tokens=16))


def assert_all_of(kb: KnowledgeBase, sign: int) -> None:
    for row in kb.read_chunks(["search_text", "embedding"]).to_pylist():
        expected = sign * HashEmbedder().embed([row["search_text"]])[0]
        assert np.array_equal(row["embedding"], expected)


def test_the_switch_is_one_version_and_old_ones_stay_as_they_were(store: str, other: Other):
    follower, writer = KnowledgeBase.open(store), KnowledgeBase.open(store)
    before = follower.version
    done = reembed(store, "other")
    kb = KnowledgeBase.open(store)

    assert (kb.embedder, done.kb_version) == (OTHER, kb.version)
    assert kb.version > before and done.chunks == kb.count_chunks() > 3
    assert_all_of(kb, -1)
    assert_all_of(KnowledgeBase.open(store, before), 1)
    assert follower.embedder == SPEC
    assert kb.delta(before).upserted.num_rows == done.chunks
    assert kb.delta(before).removed_chunk_ids == []
    assert [i for i, _ in kb.full_text_search("word b", 1)]
    assert kb.unindexed_chunks() == 0
    assert reembed(store, "other").kb_version == kb.version  # nothing is left to do
    with pytest.raises(ArtifactMismatch, match="other"):
        put(writer, "d")
    with pytest.raises(ArtifactMismatch, match="hash"):
        kb_versions.rollback(store, before)
    assert_all_of(KnowledgeBase.open(store), -1)


def test_rows_of_the_old_embedder_are_refused_after_the_switch(store: str, other: Other):
    writer = KnowledgeBase.open(store)
    rows = writer.read_chunks(where="document_id = 'a'")
    reembed(store, "other")
    with pytest.raises(ArtifactMismatch, match="other"):
        writer.commit(rows)
    assert_all_of(KnowledgeBase.open(store), -1)


def test_what_is_written_meanwhile_is_in_it_and_nothing_is_embedded_twice(
    store: str, other: Other, monkeypatch: pytest.MonkeyPatch
):
    switch = module._switch
    late = iter(["d", "e"])

    def interrupted(*args: object) -> bool:
        for document_id in late:
            put(KnowledgeBase.open(store), document_id)
            break
        return switch(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_switch", interrupted)
    reembed(store, "other")
    kb = KnowledgeBase.open(store)
    assert kb.document_hashes().keys() == set("abcde")
    assert_all_of(kb, -1)
    assert len(other.texts) == len(set(other.texts))


def test_writers_that_never_stop_end_it_and_the_next_run_goes_on(
    store: str, other: Other, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("data_pipelines.embedding_staging.FLUSH_S", 0.0)
    with monkeypatch.context() as patched, pytest.raises(ConcurrentWrite):
        patched.setattr(module, "_switch", lambda *args: False)
        reembed(store, "other")
    assert KnowledgeBase.open(store).embedder == SPEC
    other.texts.clear()
    reembed(store, "other")
    assert other.texts == []
    assert_all_of(KnowledgeBase.open(store), -1)


def test_a_folder_that_is_no_such_embedder_is_said(tmp_path: Path):
    for name in ("unknown", str(tmp_path)):
        with pytest.raises(ConfigError, match=r"tokenizer\.json"):
            EmbedderTokenizer.load(name)
    for file in ("model.safetensors", "tokenizer.json"):
        (tmp_path / file).write_text("{}")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ConfigError, match="BERT"):
        EmbedderTokenizer.load(str(tmp_path))
