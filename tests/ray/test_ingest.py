"""The ingest job on a real Ray: idempotent, atomic, and unharmed by kill -9 at any moment."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from data_pipelines.config import ChunkingConfig, IngestConfig
from data_pipelines.ingest_inputs import RunOptions
from data_pipelines.ingest_job import run_ingest
from data_pipelines.ingest_report import IngestReport
from data_pipelines.kb import KnowledgeBase
from data_pipelines.quarantine import read_quarantine
from rayraft.errors import ArtifactMismatch, InputError
from tests.ray.hash_embedder import SPEC

ROOT = Path(__file__).parents[2]
CONFIG = IngestConfig()
ON_RAY = IngestConfig.model_validate(
    {
        "reading": {"in_process_mb": 0},
        "embedding": {"actors": 1, "batch_chunks": 16, "in_process_chunks": 0},
    }
)

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text("---\nregion: HN\nacl: [hr]\n---\n# Returns\n\nThirty days.\n")
    (folder / "sub" / "b.txt").write_text("The shop opens at nine. " * 60)
    rows = [{"id": f"row-{n}", "title": f"Row {n}", "text": f"Fact number {n}."} for n in range(20)]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n{broken\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (folder / "image.png").write_bytes(b"\x89PNG")
    return folder


def ingest(
    folder: Path, store: Path, config: IngestConfig = CONFIG, **options: bool
) -> IngestReport:
    return run_ingest([str(folder)], str(store), config, options=RunOptions(**options))  # type: ignore[arg-type]


def counts(report: IngestReport) -> tuple[int, int, int, int, int]:
    return (
        report.added,
        report.changed,
        report.unchanged,
        report.quarantined,
        report.skipped,
    )


def test_a_rerun_changes_nothing_and_a_change_replaces_one_document(folder: Path, tmp_path: Path):
    store = tmp_path / "store"
    first = ingest(folder, store, ON_RAY)
    kb = KnowledgeBase.open(str(store))

    assert counts(first) == (22, 0, 0, 2, 1)
    assert first.kb_version == kb.version
    assert first.chunks == kb.count_chunks() > 22
    assert first.tokens > 0 < first.tokens_per_s
    assert kb.document("sub/b.txt").text == "The shop opens at nine. " * 60
    assert (kb.document("a.md").acl, kb.document("a.md").metadata) == (["hr"], {"region": "HN"})
    assert kb.unindexed_chunks() == 0
    quarantined = {Path(uri).name for uri in read_quarantine(str(store))["uri"].to_pylist()}
    assert quarantined == {"broken.pdf", "rows.jsonl:21"}

    second = ingest(folder, store, ON_RAY)
    assert counts(second) == (0, 0, 22, 2, 1)
    assert (second.chunks, second.embedded, second.kb_version) == (0, 0, first.kb_version)

    (folder / "sub" / "b.txt").write_text("Short now.")
    (folder / "new.txt").write_text("A new one.")
    third = ingest(folder, store)
    kb.checkout_latest()
    assert counts(third) == (1, 1, 21, 2, 1)
    assert third.chunks == 2
    assert kb.version == third.kb_version
    assert kb.document("sub/b.txt").text == "Short now."
    assert first.kb_version is not None and first.kb_version < kb.version
    changed = set(kb.delta(first.kb_version).upserted["document_id"].to_pylist())
    assert changed == {"sub/b.txt", "new.txt"}

    smaller = CONFIG.model_copy(update={"chunking": ChunkingConfig(chunk_tokens=100)})
    assert counts(ingest(folder, store, smaller)) == (0, 23, 0, 2, 1)


def test_of_two_documents_with_one_id_the_second_is_quarantined(tmp_path: Path):
    folder, store = tmp_path / "documents", tmp_path / "store"
    folder.mkdir()
    rows = [{"id": "same", "text": "one"}, {"id": "same", "text": "two"}, {"id": "x", "text": "x"}]
    (folder / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    report = ingest(folder, store)

    assert counts(report) == (2, 0, 0, 1, 0)
    assert KnowledgeBase.open(str(store)).document("same").text == "one"
    [row] = read_quarantine(str(store)).to_pylist()
    assert (row["uri"], row["document_id"]) == (str(folder / "a.jsonl:2"), "same")
    assert "a.jsonl:1" in row["reason"]


def test_a_wrong_path_or_another_embedder_leaves_the_store_as_it_was(folder: Path, tmp_path: Path):
    store = tmp_path / "store"
    with pytest.raises(InputError, match="missing"):
        ingest(tmp_path / "missing", store)
    assert not store.exists()

    version = KnowledgeBase.create_or_open(str(store), SPEC).version
    other = IngestConfig.model_validate({"embedding": {"embedder": "minilm"}})
    with pytest.raises(ArtifactMismatch, match="hash"):
        ingest(folder, store, other)
    assert KnowledgeBase.open(str(store)).version == version


KILLED_JOB = """
import os, signal, sys
import ray
import data_pipelines.embedding_staging as staging
import data_pipelines.ingest_job as job
from data_pipelines.config import IngestConfig

moment, folder, store, temp = sys.argv[1:]

def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

advance = lambda done, total: None
if moment == "documents read":
    job.plan_ingest = kill
elif moment == "some chunks embedded":
    advance = kill
ray.init(address="local", num_cpus=2, include_dashboard=False, _temp_dir=temp,
         object_store_memory=256 * 2**20, log_to_driver=False)
staging.FLUSH_S = 0
config = IngestConfig.model_validate(
    {
        "reading": {"in_process_mb": 0},
        "embedding": {"actors": 1, "batch_chunks": 4, "in_process_chunks": 0},
    }
)
job.run_ingest([folder], store, config, advance)
"""

# What the job does after its last Ray stage, where Ray has no part any more.
KILLED_COMMIT = """
import os, signal, sys
import data_pipelines.kb as kb_module
from data_pipelines.ingest import ingest_documents
from data_pipelines.kb import KnowledgeBase
from data_pipelines.readers import read_file
from data_pipelines.sources import find_files
from rayraft.models.embedder import Embedder
from rayraft.records import Document

moment, folder, store, temp = sys.argv[1:]

def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def write_data_then_kill(dataset, rows, replaced):
    merge = dataset.merge_insert("chunk_id").when_matched_update_all()
    merge.when_not_matched_insert_all().execute_uncommitted(rows)
    kill()

if moment == "data written, not committed":
    kb_module.merge_rows = write_data_then_kill
elif moment == "committed, not indexed":
    KnowledgeBase.optimize = kill
found = [item for file in find_files([folder])[0] for item in read_file(file)]
documents = [item for item in found if isinstance(item, Document)]
ingest_documents(documents, KnowledgeBase.open(store), Embedder.load())
"""
MOMENTS = {
    "documents read": KILLED_JOB,
    "some chunks embedded": KILLED_JOB,
    "data written, not committed": KILLED_COMMIT,
    "committed, not indexed": KILLED_COMMIT,
}


def ingest_and_die(moment: str, folder: Path, store: Path) -> None:
    """A real process, with a Ray of its own, dead by SIGKILL at the moment."""
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp", ignore_cleanup_errors=True) as temp:
        process = subprocess.Popen(
            [sys.executable, "-c", MOMENTS[moment], moment, str(folder), str(store), temp],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        try:
            _, errors = process.communicate(timeout=300)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its Ray
            process.wait()
    assert process.returncode == -signal.SIGKILL, errors


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_after_kill_9_the_last_version_is_readable_and_the_next_run_completes_it(
    moment: str, folder: Path, tmp_path: Path
):
    store = tmp_path / "store"
    early = tmp_path / "early"
    early.mkdir()
    (early / "a.md").write_text("# Returns\n\nTen days.\n")
    before = ingest(early, store)
    ingest_and_die(moment, folder, store)

    kb = KnowledgeBase.open(str(store))
    if moment == "committed, not indexed":
        assert len(kb.document_hashes()) == 22
        assert kb.unindexed_chunks() > 0
    else:
        assert kb.version == before.kb_version
        assert kb.document("a.md").text == "# Returns\n\nTen days.\n"
        assert kb.document_hashes().keys() == {"a.md"}

    after = ingest(folder, store)
    left = (0, 0, 22) if moment == "committed, not indexed" else (21, 1, 0)
    assert (after.added, after.changed, after.unchanged) == left
    if moment == "some chunks embedded":  # what was embedded is not embedded again
        assert after.chunks - after.embedded > 0
        assert not list((store / "ingest" / ".embedded").rglob("*.parquet"))
    kb.checkout_latest()
    assert len(kb.document_hashes()) == 22
    assert kb.document("a.md").text == "# Returns\n\nThirty days.\n"
    ids = kb.read_chunks(["chunk_id"])["chunk_id"].to_pylist()
    assert len(ids) == len(set(ids))
    assert [hit for hit, _ in kb.full_text_search("thirty days", 1)] == ["a.md#0"]
