"""The example corpus is what its generator writes, and its questions are answered by it."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from examples.support_center.build import base_questions, generated_files
from examples.support_center.sources.changes import (
    base_corpus,
    update_changes,
    updated_corpus,
)
from examples.support_center.sources.formats import render_files, write_files
from examples.support_center.sources.records import ROOT, load_csv, load_yaml

KINDS = {"stable", "regional", "time_varying", "multi_document", "restricted", "unanswerable"}


@pytest.fixture(scope="module")
def base():
    return base_corpus()


@pytest.fixture(scope="module")
def updated():
    return updated_corpus()


@pytest.fixture(scope="module")
def questions():
    return read_rows(ROOT / "questions.jsonl")


@pytest.fixture(scope="module")
def changes():
    return read_rows(ROOT / "updates" / "questions.jsonl")


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def texts(corpus) -> dict[str, str]:
    """Returns the folded lower-case text of each document, as its source states it."""
    return {source.document_id: source.text.lower() for source in corpus.sources}


def committed_texts(folder: Path) -> dict[str, str]:
    """Returns the text of the committed files that can be read without a library."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".jsonl":
            found |= {row["id"]: f"{row['title']} {row['text']}" for row in read_rows(path)}
        elif path.suffix in (".md", ".html", ".csv"):
            found[path.relative_to(folder).as_posix()] = path.read_text(encoding="utf-8")
    return {name: " ".join(text.split()).lower() for name, text in found.items()}


def missing_answers(rows, answers_key, gold_key, documents):
    """Returns the ids of the rows with an answer that stands in none of their documents."""
    return [
        row["id"]
        for row in rows
        for answer in row[answers_key]
        if not any(answer.lower() in documents[gold] for gold in row[gold_key])
    ]


def test_rebuild_equals_the_committed_files(tmp_path):
    write_files(generated_files(), tmp_path)
    rebuilt = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    committed = {
        path.relative_to(ROOT): path.read_bytes()
        for top in ("documents", "updates", "questions.jsonl")
        for path in [ROOT / top, *(ROOT / top).rglob("*")]
        if path.is_file()
    }
    assert sorted(rebuilt) == sorted(committed)
    assert [name for name, content in committed.items() if rebuilt[name] != content] == []


def test_documents_are_many_and_come_in_every_format(base):
    files = Counter(path.suffix for path in (ROOT / "documents").rglob("*.*"))
    assert len(base.sources) >= 120
    assert set(files) == {".md", ".html", ".docx", ".pdf", ".csv", ".jsonl"}
    regional = Counter(region.format for region in base.regions)
    assert regional == {"md": 25, "html": 15, "docx": 12, "pdf": 11}


@pytest.mark.parametrize("corpus", ["base", "updated"])
def test_document_ids_are_unique_and_lengths_sensible(corpus, request):
    sources = request.getfixturevalue(corpus).sources
    assert len({source.document_id for source in sources}) == len(sources)
    words = {source.document_id: len(re.findall(r"[\w'-]+", source.text)) for source in sources}
    assert [name for name, count in words.items() if not 80 <= count <= 600] == []


def test_each_document_names_its_subject(base):
    by_id = texts(base)
    for region in base.regions:
        assert by_id[region.document_id].count(region.name.lower()) >= 4
    for fact, phrasings in load_yaml("region_phrases.yaml").items():
        assert len(set(phrasings)) >= 12
        assert len(set(load_yaml("region_questions.yaml")[fact])) >= 8


def test_managers_and_telephone_numbers_belong_to_one_region(base):
    for fact in ("manager", "hotline"):
        values = [region.amounts[fact] for region in base.regions]
        assert len(set(values)) == len(values) == 63


def test_questions_are_unique_and_of_every_kind(base, questions):
    counts = Counter(row["kind"] for row in questions)
    assert set(counts) == KINDS
    assert len(questions) == len(base_questions(base.regions)) >= 300
    assert len({row["id"] for row in questions}) == len(questions)
    assert len({row["question"] for row in questions}) == len(questions)
    least = {"stable": 90, "regional": 80, "time_varying": 50, "multi_document": 30}
    least |= {"restricted": 20, "unanswerable": 30}
    assert {kind: counts[kind] for kind in KINDS if counts[kind] < least[kind]} == {}


def test_readme_states_the_true_counts(base, questions, changes):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for kind, count in Counter(row["kind"] for row in questions).items():
        assert f"| {kind} | {count} |" in readme
    for suffix, count in Counter(p.suffix for p in (ROOT / "documents").rglob("*.*")).items():
        assert f"| {suffix} | {count} |" in readme
    assert f"{len(base.sources)} documents" in readme
    assert f"{len(questions)} questions" in readme
    assert f"{len(changes)} questions" in readme


def test_answers_stand_in_a_golden_document(base, questions):
    documents = texts(base)
    assert missing_answers(questions, "answers", "gold_ids", documents) == []
    for row in questions:
        assert set(row["gold_ids"]) <= set(documents)
        assert bool(row["answers"]) == bool(row["gold_ids"]) == (row["kind"] != "unanswerable")
        assert row["kind"] != "multi_document" or len(row["gold_ids"]) == 2


def test_answers_stand_in_the_committed_files(questions):
    documents = committed_texts(ROOT / "documents")
    readable = [row for row in questions if set(row["gold_ids"]) <= set(documents)]
    assert len(readable) > len(questions) // 2
    assert missing_answers(readable, "answers", "gold_ids", documents) == []


def test_unanswerable_questions_have_no_trace_in_the_corpus(base, updated):
    everything = " ".join([*texts(base).values(), *texts(updated).values()])
    rows = load_csv("unanswerable.csv")
    assert [row["key"] for row in rows if row["key"].lower() in everything] == []


def test_restricted_questions_need_a_group_that_the_asker_has(base, questions):
    acl = {source.document_id: source.metadata.get("acl") for source in base.sources}
    for row in questions:
        if row["kind"] == "restricted":
            assert set(acl[row["gold_ids"][0]]) & set(row["groups"])
        else:
            assert not any(acl[gold] for gold in row["gold_ids"])
    for source in base.sources:
        assert "acl" not in source.metadata or Path(source.file).suffix in (".md", ".jsonl")


def test_the_update_changes_every_answer_it_asks_for(base, updated, changes):
    assert len(changes) == len(update_changes()) >= 40
    assert len({row["question"] for row in changes}) == len(changes)
    assert {row["change"] for row in changes} == {"changed", "appeared", "disappeared"}
    assert [row["id"] for row in changes if row["answers"] == row["answers_before"]] == []
    assert missing_answers(changes, "answers", "gold_ids", texts(updated)) == []
    assert missing_answers(changes, "answers_before", "gold_ids_before", texts(base)) == []


def test_the_update_folder_turns_the_base_into_the_updated_corpus(base, updated):
    deleted = (ROOT / "updates" / "deleted.txt").read_text(encoding="utf-8").split()
    folder = ROOT / "updates" / "documents"
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    state = {s.document_id: s.text for s in base.sources if s.document_id not in deleted}
    state |= {s.document_id: s.text for s in updated.sources if s.file in files}
    assert state == {source.document_id: source.text for source in updated.sources}
    rendered = render_files(updated.sources)
    assert all((folder / name).read_bytes() == rendered[name] for name in files)
