from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_pipelines.artifacts import find, read_manifest
from data_pipelines.raft import build_raft_examples
from data_pipelines.raft_examples import RaftConfig, WorkerConfig
from data_pipelines.teachers import TeacherConfig
from rayraft.errors import InputError, NotFoundError
from rayraft.records import RaftExample
from tests.ray.raft_store import make_store, teacher_endpoint


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def endpoint():
    with teacher_endpoint() as server:
        yield server


def config(endpoint, **settings):
    teacher = TeacherConfig(kind="openai", url=endpoint.url, max_retries=0)
    workers = {"actors": 1, "batch_chunks": 8}
    given = {"questions_per_chunk": 1, "validation_fraction": 0.2, "workers": workers, **settings}
    return RaftConfig.model_validate({"teacher": teacher, **given})


def read(store, run, side):
    return pq.read_table(f"{store}/raft/{run}/{side}.parquet")


@pytest.fixture(scope="module")
def first(ray_cluster, store, endpoint):
    """A run by one actor, what it was asked, and the progress it reported."""
    progress = []

    def advance(done, total, detail=""):
        progress.append((done, total))

    made = build_raft_examples(store[0], config(endpoint), "first", advance)
    return made, list(endpoint.asked), progress


def examples(store, run):
    tables = [read(store, run, side).to_pylist() for side in ("train", "validation")]
    return [RaftExample.model_validate(row) for rows in tables for row in rows]


def test_a_run_publishes_verified_examples_with_counts_of_everything_left_out(store, first):
    path, kb = store
    made, _, progress = first
    rows = examples(path, "first")
    assert (made.chunks, made.restricted_chunks, len(rows)) == (10, 1, 8)
    assert made.dropped == {"quote_not_in_chunk": 1, "teacher_not_json": 1}
    assert progress[-1] == (10, 10)
    chunks = kb.read_chunks(["chunk_id", "text"]).to_pylist()
    texts = {chunk["chunk_id"]: chunk["text"] for chunk in chunks}
    for row in rows:
        shown = {passage.chunk_id: passage.text for passage in row.passages}
        assert len(shown) == 4
        assert (row.chunk_id in shown) == row.has_golden
        assert all(texts[i] == text for i, text in shown.items())
        assert row.has_golden == any(row.answer in text for text in shown.values())
        assert row.quote in texts[row.chunk_id]
    manifest = read_manifest(find(path, "raft", "first"))
    assert (manifest.kb_version, manifest.metrics["train"]) == (kb.version, made.train)
    assert manifest.metrics["dropped.teacher_not_json"] == 1


def test_restricted_documents_are_neither_sent_to_a_teacher_nor_shown(store, first, endpoint):
    path, _ = store
    assert "Secretville" not in first[1]
    assert "hr.md" not in str([row.passages for row in examples(path, "first")])
    learned = build_raft_examples(path, config(endpoint, groups=("hr",)), "internal")
    assert "Secretville" in endpoint.asked
    assert (learned.chunks, learned.restricted_chunks) == (11, 0)


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_actors(store, first, endpoint):
    path, _ = store
    build_raft_examples(path, config(endpoint, workers={"actors": 2, "batch_chunks": 1}), "two")
    for side in ("train.parquet", "validation.parquet"):
        one, two = (Path(path, "raft", run, side).read_bytes() for run in ("first", "two"))
        assert one == two


def test_wrong_runs_are_refused_before_anything_is_asked_or_written(
    store, first, endpoint, tmp_path
):
    path, _ = store
    endpoint.asked.clear()
    with pytest.raises(InputError, match="'first' exists"):
        build_raft_examples(path, config(endpoint), "first")
    with pytest.raises(InputError, match="must match"):
        build_raft_examples(path, config(endpoint), "../outside")
    with pytest.raises(NotFoundError, match="no knowledge base"):
        build_raft_examples(str(tmp_path / "nothing"), config(endpoint), "x")
    with pytest.raises(NotFoundError, match="base model 'no/such'"):
        build_raft_examples(path, RaftConfig(teacher=TeacherConfig(base_model="no/such")), "x")
    assert endpoint.asked == []
    assert not Path(path, "raft", "x").exists()


def test_a_dead_endpoint_ends_in_one_clear_error_and_no_artifact(ray_cluster, store):
    path, _ = store
    teacher = TeacherConfig(kind="openai", url="http://127.0.0.1:9/v1", max_retries=0)
    dead = RaftConfig(teacher=teacher, workers=WorkerConfig(actors=1))
    with pytest.raises(InputError, match=r"no example is left of 10 chunks \(teacher_error 10\)"):
        build_raft_examples(path, dead, "dead")
    assert not Path(path, "raft", "dead").exists()
