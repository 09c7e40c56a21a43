"""The demo's client and conversation against a small HTTP server that keeps documents."""

import io
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest
from rich.console import Console

from rayraft.client import ServiceError
from rayraft.demo.conversation import Conversation
from rayraft.demo.corpus import Edit
from rayraft.demo.http import Service
from rayraft.records import Question


class Library(BaseHTTPRequestHandler):
    """Answers with the number in the one document `a b.md`."""

    documents: dict[str, dict[str, Any]]
    version: int
    seen: list[dict[str, Any]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/readyz":
            self.answer(200, {"status": "ready"})
        elif self.document_id in self.documents:
            self.answer(200, {"document_id": self.document_id, **self.documents[self.document_id]})
        else:
            self.answer(404, {"error": {"message": "no such document"}})

    def do_PUT(self) -> None:
        self.documents[self.document_id] = self.body()
        self.written()

    def do_DELETE(self) -> None:
        del self.documents[self.document_id]
        self.written()

    def do_POST(self) -> None:
        request = self.body()
        self.seen.append(request)
        found = re.search(r"\d+", self.documents["a b.md"]["text"])
        text = self.documents["a b.md"]["text"]
        citation = {"chunk_id": "c", "document_id": "a b.md", "quote": text, "start": 0, "end": 1}
        details = {"mode": "rag", "kb_version": self.version, "citations": [citation]}
        message = {"content": found[0] if found else ""}
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        reply = {"choices": [{"message": message}], "rayraft": details, "usage": usage}
        self.answer(200, reply)

    @property
    def document_id(self) -> str:
        return unquote(self.path.removeprefix("/v1/documents/"))

    def body(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return read

    def written(self) -> None:
        type(self).version += 1
        self.answer(200, {"kb_version": self.version})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    document = {"title": "T", "text": "It takes 5 days.", "metadata": {"m": 1}, "acl": []}
    Library.documents = {"a b.md": document}
    Library.version, Library.seen = 7, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Library)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    client = Service(f"http://127.0.0.1:{server.server_port}")
    yield client
    client.close()
    server.shutdown()
    thread.join()
    server.server_close()


EDIT = Edit(
    document_id="a b.md", text="It takes 8 days.", question="How long?", before=["5"], after=["8"]
)


def test_the_second_answer_waits_for_the_version_of_the_write(service: Service):
    out = io.StringIO()
    Conversation(service, Console(file=out, width=120)).hold(EDIT)

    wanted = [request["rayraft"].get("min_kb_version") for request in Library.seen]
    assert wanted == [None, 8]
    assert re.findall(r"^A (\d)", out.getvalue(), re.MULTILINE) == ["5", "8"]
    assert '-> "kb_version": 8' in out.getvalue()
    assert "a b.md: “It takes 8 days.”" in out.getvalue()


def test_a_changed_document_keeps_title_metadata_and_acl(service: Service):
    Conversation(service, Console(file=io.StringIO())).put([EDIT])

    assert Library.documents["a b.md"] == {
        "title": "T",
        "text": "It takes 8 days.",
        "metadata": {"m": 1},
        "acl": [],
    }


def test_planning_edits_writes_nothing_and_takes_each_document_once(service: Service):
    question = Question(id="1", question="How long?", answers=["5"], gold_ids=["a b.md"])
    again = question.model_copy(update={"id": "2"})
    pairs = [(question, "It takes 5 days."), (again, "It takes 5 days.")]

    edits = Conversation(service, Console(file=io.StringIO())).edit_facts(pairs, limit=8)

    assert edits == [EDIT]
    assert Library.version == 7


def test_an_error_of_the_service_names_request_status_and_reason(service: Service):
    with pytest.raises(ServiceError, match=r"GET /v1/documents/absent: 404 .*no such document"):
        service.document("absent")


def test_deleting_a_document_tells_the_version_without_it(service: Service):
    assert service.delete_document("a b.md") == 8
    assert Library.documents == {}


def test_waiting_ends_when_the_service_is_ready_or_has_died(service: Service):
    assert service.wait_until_ready(lambda: True, timeout_s=10) < 10
    with pytest.raises(ServiceError, match="ended before"):
        service.wait_until_ready(lambda: False, timeout_s=10)


def test_questions_go_to_the_service_and_not_to_a_proxy_of_the_environment(
    service: Service, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert service.ask("How long?", "rag").text == "5"
