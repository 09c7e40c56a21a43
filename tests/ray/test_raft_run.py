import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from data_pipelines.artifacts import find, read_file, read_manifest
from data_pipelines.raft import BudgetSpent, Scope, build_raft_examples
from data_pipelines.raft_examples import RaftConfig, WorkerConfig
from data_pipelines.teacher_config import TeacherConfig
from rayraft.cli import build_app
from rayraft.errors import InputError, NotFoundError
from rayraft.prompts import parse_answer
from rayraft.records import Question, RaftExample
from tests.ray.raft_store import fee_questions, make_store, teacher_endpoint


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def endpoint():
    with teacher_endpoint() as server:
        yield server


def config(endpoint, reasoning="quote", limits=None, **settings):
    teacher = TeacherConfig.model_validate(
        {
            "kind": "openai",
            "url": endpoint.url,
            "max_retries": 0,
            "reasoning": reasoning,
            "limits": limits or {},
        }
    )
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


def test_a_run_has_a_card_and_is_exported_by_the_command(store, first, tmp_path):
    path = store[0]
    rows = examples(path, "first")
    card = read_file(find(path, "raft", "first"), "card.md").decode()
    assert all(row.question in card for row in rows) and "| teacher_not_json | 1 |" in card

    def run(*options):
        return CliRunner().invoke(build_app(), ["export", "--store", path, *options])

    out = tmp_path / "all.jsonl"
    done = run("--out", str(out), "--split", "all", "--format", "prompt-completion")
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"{len(rows)} examples" in done.stdout
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["completion"][0]["content"] for line in lines] == [row.completion for row in rows]
    whole = tmp_path / "train.parquet"
    assert run("--out", str(whole), "--format", "parquet").exit_code == 0
    assert pq.read_table(whole).num_rows == sum(row.split == "train" for row in rows)
    for options, named in [
        (("--out", str(out), "--run", "none"), "none"),
        (("--out", str(out), "--format", "csv"), "csv"),
        (("--out", str(out), "--format", "parquet"), "all.jsonl"),
        (("--out", str(out), "--split", "test"), "test"),
        (("--out", str(tmp_path / "no" / "x.jsonl")), str(tmp_path / "no")),
        (("--out", str(tmp_path / "x.csv")), "x.csv"),
    ]:
        refused = run(*options)
        assert refused.exit_code == 2, options
        assert refused.stderr.startswith("error: ") and named in refused.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all.jsonl", "train.parquet"]


def test_peoples_questions_take_the_teachers_place(store, ray_cluster, endpoint):
    path, _ = store
    asked = fee_questions()
    secret = Question(id="s", question="And there?", answers=["999 euros"], gold_ids=["hr.md"])
    both = Question(
        id="b",
        question="Is the parcel fee in Hue or in Vinh higher?",
        answers=["Vinh"],
        gold_ids=["fees/Hue.md", "fees/Vinh.md"],
    )
    unknown = Question(id="u", question="What is the parcel fee in Atlantis?", answers=[])
    before = len(endpoint.asked)
    settings = config(endpoint, golden_fraction=1.0, validation_fraction=0, reasoning="written")
    given = [*asked, secret, both, unknown]
    made = build_raft_examples(path, settings, "people", scope=Scope(given))
    assert len(endpoint.asked) == before and made.teacher == "given"
    assert made.dropped == {"no_golden_document": 1}
    rows = {row.question: row for row in examples(path, "people")}
    several = rows.pop(both.question)
    assert made.multi_golden == 1 and len(several.passages) == 4
    assert set(several.golden_ids) == {"fees/Hue.md#0", "fees/Vinh.md#0"}
    told = parse_answer(several.completion)
    assert told.text == "Vinh" and len(told.quotes) == 2
    assert several.completion.startswith("It says ##begin_quote## The parcel fee in Vinh")
    none = rows.pop(unknown.question)
    assert made.unanswerable == 1 and (none.golden_ids, none.golden_documents) == ([], [])
    assert parse_answer(none.completion).abstained and len(none.passages) == 4
    assert any("parcel fee" in passage.text for passage in none.passages)
    assert rows.keys() == {question.question for question in asked}
    for question in asked:
        row = rows[question.question]
        assert row.document_id == question.gold_ids[0] and row.answer == question.answers[0]
        assert row.quote.startswith("The parcel fee in") and row.answer in row.quote
    manifest = read_manifest(find(path, "raft", "people"))
    assert any(source.startswith("teacher/given@") for source in manifest.made_from)


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


def test_an_interrupted_run_goes_on_where_it_stopped(first, store, endpoint):
    path, _ = store
    one_by_one = {"actors": 1, "batch_chunks": 1}
    settings = config(endpoint, workers=one_by_one)

    def interrupt(done, total, detail=""):
        if done == 4:
            raise KeyboardInterrupt

    endpoint.asked.clear()
    with pytest.raises(KeyboardInterrupt):
        build_raft_examples(path, settings, "resumed", interrupt)
    assert not Path(path, "raft", "resumed").exists()
    before = list(endpoint.asked)
    endpoint.asked.clear()
    seen = []
    build_raft_examples(path, settings, "resumed", lambda done, total, detail="": seen.append(done))
    # The actor may have been ahead of the interrupt; what it had written counts.
    assert seen == list(range(seen[0], 11)) and seen[0] >= 5
    # Replies are kept, too: only what was under way is asked twice.
    assert {*before, *endpoint.asked} == {*first[1]}
    assert len(before) + len(endpoint.asked) <= len(first[1]) + 1
    for side in ("train.parquet", "validation.parquet"):
        resumed, whole = (Path(path, "raft", r, side).read_bytes() for r in ("resumed", "first"))
        assert resumed == whole
    assert not list(Path(path, "raft", ".unfinished").iterdir())


@pytest.mark.slow
def test_a_spent_budget_keeps_what_was_written_and_the_next_run_asks_for_the_rest(
    first, store, endpoint
):
    path, _ = store
    workers = {"actors": 2, "batch_chunks": 2}
    endpoint.asked.clear()
    for limits in ({"token_budget": 3000}, {"requests_per_minute": 6000}):
        settings = config(endpoint, limits=limits, workers=workers)
        if "token_budget" in limits:
            with pytest.raises(BudgetSpent, match=r"token_budget=3000: spent; \d of 10 chunks"):
                build_raft_examples(path, settings, "thrifty")
            assert 2 <= len(endpoint.asked) <= 8
        else:
            build_raft_examples(path, settings, "thrifty")
    for side in ("train.parquet", "validation.parquet"):
        thrifty, whole = (Path(path, "raft", r, side).read_bytes() for r in ("thrifty", "first"))
        assert thrifty == whole


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
