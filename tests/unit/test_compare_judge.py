"""The judge over a real port: an endpoint that answers as such endpoints do, well and badly."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from data_pipelines.progress import no_progress
from rayraft.records import Question
from tests.unit.compare_rows import row
from train.compare.config import JudgeSettings
from train.compare.judge import judge_rows, judged_figures, read_verdict, verdict_key


class Endpoint(BaseHTTPRequestHandler):
    """Says right to what holds `months`; chatters, fails or adds to the object when told to."""

    seen: list[dict[str, Any]] = []  # noqa: RUF012 - emptied by the fixture, shared by all requests

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append(body | {"key": self.headers.get("authorization"), "path": self.path})
        given = body["messages"][1]["content"].split("<given>")[1]
        if "crash" in given:
            self.send_error(400)
            return
        said = json.dumps({"verdict": "right" if "months" in given else "wrong"})
        said = f"Sure! {said}" if "chatter" in given else said
        payload = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format, *args):
        """Nothing is printed."""


@pytest.fixture
def judge(monkeypatch):
    Endpoint.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("JUDGE_KEY", "secret")
    yield JudgeSettings(
        base_url=f"http://127.0.0.1:{server.server_port}/v1",
        model="big",
        key_variable="JUDGE_KEY",
        max_retries=0,
    )
    server.shutdown()
    server.server_close()


def said(i, text, answers=("two years",), **more):
    asked = Question(id=f"q{i}", question=f"How long {i}?", answers=list(answers))
    return row("rag", i, False, asked=asked).model_copy(update={"prediction": text, **more})


def test_verdicts_count_and_what_is_none_is_counted_apart(judge, tmp_path):
    rows = [
        said(1, "24 months"),
        said(2, "a week"),
        said(3, "chatter, 24 months"),
        said(4, "crash"),
        said(5, "", abstained=True),  # silence where there is an answer is wrong without asking
        said(6, "something", answers=()),  # and so is an answer where there is none
    ]
    found = judged_figures(rows, judge_rows(str(tmp_path), rows, judge, no_progress), judge)
    assert found["right"] == pytest.approx(1 / 4)
    assert (found["n"], found["asked"]) == (4, 4)
    assert (found["unreadable"], found["failed"]) == (1, 1)
    assert found["agrees_with_f1"] == 0.5  # token F1 misses that 24 months are two years
    assert {(s["path"], s["key"], s["model"]) for s in Endpoint.seen} == {
        ("/v1/chat/completions", "Bearer secret", "big")
    }
    assert Endpoint.seen[0]["temperature"] == 0


def test_no_answer_is_judged_twice_but_one_without_a_verdict(judge, tmp_path):
    rows = [said(1, "24 months"), said(1, "24 months"), said(2, "chatter")]
    first = judge_rows(str(tmp_path), rows, judge, no_progress)
    assert len(Endpoint.seen) == 2
    again = judge_rows(str(tmp_path), rows, judge, no_progress)
    assert len(Endpoint.seen) == 3
    assert again == first


def test_another_model_or_answer_is_another_verdict(judge):
    other = judge.model_copy(update={"model": "small"})
    keys = {
        verdict_key(said(1, "a"), judge),
        verdict_key(said(1, "b"), judge),
        verdict_key(said(2, "a"), judge),
        verdict_key(said(1, "a"), other),
    }
    assert len(keys) == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "right",
        '{"verdict": "yes"}',
        '{"verdict": true}',
        '{"verdict": "right", "reason": "so"}',
        '```json\n{"verdict": "right"}\n```',
        '[{"verdict": "right"}]',
    ],
)
def test_a_reply_that_is_not_the_object_is_no_verdict(text):
    assert read_verdict(text) is None


def test_the_object_alone_is_a_verdict():
    assert read_verdict(' {"verdict": "right"}\n') is True
    assert read_verdict('{"verdict":"wrong"}') is False


def test_a_judge_needs_a_model():
    with pytest.raises(ValueError, match=r"judge\.model"):
        JudgeSettings(base_url="http://localhost:1/v1")
