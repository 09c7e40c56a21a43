"""People's feedback: over HTTP, on storage, and as questions to learn from."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from data_pipelines.feedback import add_feedback, forget_documents, read_feedback
from rayraft.cli import build_app
from rayraft.errors import InputError
from rayraft.feedback import Feedback, as_questions, parse_feedback
from tests.ray.api_in_process import Api, error_of

BODY: dict[str, Any] = {
    "question": "How long?",
    "verdict": "corrected",
    "answer": "30 days",
    "document_ids": ["d"],
}


def test_what_is_added_is_read_after_the_version_it_came_with(tmp_path: Path):
    store = str(tmp_path)
    assert read_feedback(store) == ([], 0)
    first = add_feedback(store, [Feedback(**BODY)])
    second = add_feedback(store, [Feedback(question="Why?", verdict="rejected")])
    assert second > first
    everything, latest = read_feedback(store)
    assert latest == second and [one.verdict for one in everything] == ["corrected", "rejected"]
    assert everything[0] == Feedback(**BODY)
    newer, _ = read_feedback(store, since=first)
    assert [one.question for one in newer] == ["Why?"]
    assert read_feedback(store, since=second)[0] == []
    with pytest.raises(InputError, match="none given"):
        add_feedback(store, [])


def test_nothing_is_lost_when_many_write_at_once(tmp_path: Path):
    store = str(tmp_path)
    threads = [
        threading.Thread(
            target=add_feedback, args=(store, [Feedback(question=f"Q{i}", verdict="rejected")])
        )
        for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.question for one in read_feedback(store)[0]) == [f"Q{i}" for i in range(6)]


def test_feedback_on_a_document_can_be_forgotten(tmp_path: Path):
    store = str(tmp_path)
    assert forget_documents(store, ["d"]) == 0
    other = Feedback(**{**BODY, "document_ids": ["it's"]})
    add_feedback(store, [Feedback(**BODY), other, Feedback(question="Why?", verdict="rejected")])
    assert forget_documents(store, ["d", "nobody"]) == 1
    assert [one.document_ids for one in read_feedback(store)[0]] == [["it's"], []]


def test_the_last_word_on_a_question_teaches_and_rejections_do_not():
    said = [
        Feedback(**BODY),
        Feedback(**{**BODY, "question": "how  LONG?", "answer": "60 days"}),
        Feedback(question="Why?", verdict="rejected", answer="because", document_ids=["d"]),
        Feedback(question="Who?", verdict="accepted", answer="Ann"),
    ]
    (question,) = as_questions(said)
    assert (question.answers, question.gold_ids) == (["60 days"], ["d"])


def test_the_service_takes_feedback_with_the_groups_it_knows_and_not_those_claimed():
    api = Api()
    assert api.send("POST", "/v1/feedback", json=BODY).json() == {"feedback_version": 1}
    assert api.service.feedback[0] == Feedback(**BODY)
    empty = api.send("POST", "/v1/feedback", json={**BODY, "answer": " "})
    assert empty.status_code == 400 and "answer" in error_of(empty)["message"]
    wrong = api.send("POST", "/v1/feedback", json={**BODY, "verdict": "good"})
    assert wrong.status_code == 400 and "verdict" in error_of(wrong)["message"]
    claimed = api.send("POST", "/v1/feedback", json={**BODY, "groups": ["hr"]})
    assert claimed.status_code == 403
    closed = Api(allow_feedback=False).send("POST", "/v1/feedback", json=BODY)
    assert closed.status_code == 403 and "allow_feedback" in error_of(closed)["message"]


def test_the_command_takes_a_file_or_none_of_it(tmp_path: Path):
    file = tmp_path / "said.jsonl"
    file.write_text(json.dumps(BODY) + "\n\n" + json.dumps({**BODY, "verdict": "accepted"}) + "\n")
    assert [one.verdict for one in parse_feedback(file)] == ["corrected", "accepted"]

    def run(*arguments: str):
        return CliRunner().invoke(build_app(), ["feedback", *arguments, "--store", str(tmp_path)])

    assert run().stdout == "feedback version 0: none\n"
    assert "2 taken" in run(str(file)).stdout
    assert "1 accepted, 1 corrected" in run().stdout
    file.write_text(json.dumps(BODY) + "\n" + json.dumps({**BODY, "answr": "x"}) + "\n")
    refused = run(str(file))
    assert refused.exit_code == 2
    assert "line 2" in refused.stderr and "answr" in refused.stderr
    assert "1 accepted, 1 corrected" in run().stdout
