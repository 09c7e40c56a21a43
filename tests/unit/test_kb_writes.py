"""What a write costs and when it is one: hashes are made once, and only what is asked is read."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import data_pipelines.kb as kb_module
import data_pipelines.kb_table as kb_table
from data_pipelines.config import ChunkingConfig
from data_pipelines.ingest import delete_document, ingest_documents
from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_table import SEARCH_COLUMN, index_named, read_rows
from rayraft.models.embedder_tokenizer import EmbedderTokenizer
from rayraft.records import Document
from tests.ray.hash_embedder import SPEC, HashEmbedder

TEXT = "one two three four five six seven. " * 12
CUT_16 = ChunkingConfig(chunk_tokens=16)
CUT_40 = ChunkingConfig(chunk_tokens=40)


def documents(*ids: str, text: str = TEXT) -> list[Document]:
    return [Document(document_id=i, title="T", text=text, metadata={"n": 1}) for i in ids]


@pytest.fixture
def kb(tmp_path: Path) -> KnowledgeBase:
    return KnowledgeBase.create_or_open(str(tmp_path), SPEC)


def put(kb: KnowledgeBase, given: Sequence[Document], config: ChunkingConfig | None = None) -> int:
    return ingest_documents(given, kb, HashEmbedder(), config)


def test_a_document_is_hashed_once_whatever_its_chunks(
    kb: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
):
    calls: list[str] = []
    content_hash = Document.content_hash

    def counted(document: Document) -> str:
        calls.append(document.document_id)
        return content_hash(document)

    monkeypatch.setattr(Document, "content_hash", counted)
    put(kb, documents("a", "b"), CUT_16)

    assert kb.count_chunks() > 4
    assert sorted(calls) == ["a", "b"]


def test_one_write_reads_no_other_document_and_no_other_embedding(
    kb: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
):
    put(kb, documents(*"abcdef"), CUT_16)
    reads: list[pa.Table] = []

    def recorded(*args: Any) -> pa.Table:
        reads.append(read_rows(*args))
        return reads[-1]

    monkeypatch.setattr(kb_module, "read_rows", recorded)
    monkeypatch.setattr(kb_table, "read_rows", recorded)
    put(kb, documents("a", text="new"), CUT_16)
    delete_document("b", kb)
    assert kb.document("c").text == TEXT

    rows = [table for table in reads if table.num_rows]
    assert {i for table in rows for i in table["document_id"].to_pylist()} == {"a", "b", "c"}
    vectors = [table for table in rows if "embedding" in table.column_names]
    assert {i for table in vectors for i in table["document_id"].to_pylist()} == {"a"}


@pytest.mark.parametrize("listed", [3, 2000])
def test_hashes_of_some_documents_are_those_of_all(listed: int, kb: KnowledgeBase):
    odd = 'it\'s a "q" -- #1'
    put(kb, documents(odd, "b", "c"))
    asked = [odd, "b", *(f"none {n}" for n in range(listed - 2))]
    everything = kb.document_hashes()

    assert everything.keys() == {odd, "b", "c"}
    assert kb.document_hashes(asked) == {i: everything[i] for i in (odd, "b")}
    assert kb.document_hashes([]) == {}


def test_documents_cut_with_other_settings_count_as_changed(kb: KnowledgeBase):
    first = put(kb, documents("a", "b"), CUT_16)
    chunks = kb.count_chunks()

    assert put(kb, documents("a", "b"), CUT_16) == first
    assert put(kb, documents("a", "b"), CUT_40) > first
    assert kb.count_chunks() < chunks


def test_first_writers_at_once_all_succeed(tmp_path: Path):
    names = [str(number) for number in range(4)]

    def write(name: str) -> int:
        return put(KnowledgeBase.create_or_open(str(tmp_path), SPEC), documents(name))

    with ThreadPoolExecutor(len(names)) as pool:
        assert len(list(pool.map(write, names))) == len(names)
    kb = KnowledgeBase.open(str(tmp_path))
    assert sorted(kb.document_hashes()) == names
    assert index_named(kb._dataset, SEARCH_COLUMN)


def test_without_settings_of_its_own_a_write_looks_at_the_content_alone(kb: KnowledgeBase):
    first = put(kb, documents("a"), CUT_16)

    assert put(kb, documents("a")) == first
    assert put(kb, documents("a", text="new")) > first


def test_counting_tokens_does_not_read_the_weights(monkeypatch: pytest.MonkeyPatch):
    def read_weights(folder: Path) -> str:
        raise AssertionError("90 MB read for nothing")

    monkeypatch.setattr("rayraft.models.embedder_tokenizer.folder_digest", read_weights)
    tokenizer = EmbedderTokenizer.load()

    assert tokenizer.count_tokens(["two words"]).tolist() == [2]
    with pytest.raises(AssertionError):
        tokenizer.spec  # noqa: B018
