"""The ingest job's parts that need no running Ray: its batch functions and its summary."""

import pyarrow as pa
import pytest

import data_pipelines.embedders as embedders
import data_pipelines.ingest_chunking as chunking
from data_pipelines.config import ChunkingConfig
from data_pipelines.ingest_report import IngestReport, ingest_summary
from data_pipelines.quarantine import Rejected
from rayraft.models.embedder_tokenizer import EmbedderTokenizer
from rayraft.records import Document


def report(unread: int) -> IngestReport:
    return IngestReport(
        added=1,
        changed=0,
        unchanged=0,
        rejected=[Rejected(uri=f"{n}.txt", reason="blank") for n in range(unread)],
        skipped=0,
        chunks=1,
        tokens=3,
        seconds=1.0,
        embed_seconds=1.0,
        kb_version=2,
    )


@pytest.mark.parametrize(
    ("unread", "end"),
    [
        (2, "not read    1.txt: blank\n            store/quarantine/"),
        (7, "not read    4.txt: blank\n            and 2 more; store/quarantine/"),
    ],
)
def test_the_summary_shows_the_first_reasons_of_this_run(unread: int, end: str):
    summary = ingest_summary(report(unread), "store/")

    assert f"{unread} quarantined" in summary
    assert "\nnot read    0.txt: blank\n" in summary
    assert summary.endswith(end)


def test_a_summary_without_unread_documents_names_no_quarantine():
    assert "quarantine/" not in ingest_summary(report(0), "store")


def test_a_worker_parses_the_tokenizer_once(monkeypatch: pytest.MonkeyPatch):
    loaded: list[str] = []
    load = EmbedderTokenizer.load

    def counted(name: str) -> EmbedderTokenizer:
        loaded.append(name)
        return load(name)

    monkeypatch.setattr(EmbedderTokenizer, "load", counted)
    embedders.load_tokenizer.cache_clear()
    document = Document(document_id="a", text="one two")
    batch = pa.table({"document": [document.model_dump_json()], "content_hash": ["h"]})
    tables = [
        chunking.chunk_batch(batch, "minilm", ChunkingConfig(chunk_tokens=16)) for _ in range(2)
    ]

    assert loaded == ["minilm"]
    assert [table["document_hash"].to_pylist() for table in tables] == [["h:16"]] * 2
