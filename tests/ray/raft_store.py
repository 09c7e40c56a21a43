"""A store with a real knowledge base, and a teacher's endpoint on the loopback interface."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from data_pipelines.ingest import ingest_documents
from data_pipelines.kb import KnowledgeBase
from data_pipelines.reasoning import SYSTEM as REASONING
from rayraft.models.embedder import Embedder
from rayraft.prompts import completion
from rayraft.records import Document, Question

CITIES = ["Hanoi", "Hue", "Vinh", "Oslo", "Bergen", "Turin", "Porto", "Gdansk", "Lviv", "Split"]


def documents():
    """One short policy a city with a fee of its own, and one document for `hr` alone."""
    made = [
        Document(
            document_id=f"fees/{city}.md",
            title=f"Fees in {city}",
            text=(
                f"The parcel fee in {city} is {11 + 7 * i} euros for every customer. "
                f"The desk in {city} opens at {5 + i} in the morning on all days."
            ),
        )
        for i, city in enumerate(CITIES)
    ]
    secret = "The parcel fee in Secretville is 999 euros for every employee of the company."
    return [*made, Document(document_id="hr.md", title="Secretville", text=secret, acl=["hr"])]


def fee_questions():
    """People's questions on the fees, one a city."""
    return [
        Question(
            id=city,
            question=f"What does a parcel cost in {city}?",
            answers=[f"{11 + 7 * i} euros"],
            gold_ids=[f"fees/{city}.md"],
        )
        for i, city in enumerate(CITIES)
    ]


def make_store(folder):
    """The store's path and its knowledge base."""
    embedder = Embedder.load(threads=1)
    kb = KnowledgeBase.create_or_open(str(folder), embedder.spec)
    ingest_documents(documents(), kb, embedder)
    return str(folder), KnowledgeBase.open(str(folder))


class TeacherServer(ThreadingHTTPServer):
    """Knows its `url` and the cities it was `asked` about."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Teacher)
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class _Teacher(BaseHTTPRequestHandler):
    """Asks for the fee; of Oslo with a quote that nobody wrote, of Turin not at all.

    Asked for reasoning it quotes each fee that it is shown.
    """

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["messages"][0]["content"] == REASONING:
            shown = re.findall(
                r"The parcel fee in \w+ is \d+ euros", body["messages"][1]["content"]
            )
            quotes = [f"##begin_quote##{quote}##end_quote##" for quote in shown]
            self._send(f"It says {' and '.join(quotes)}, so it is clear.")
            return
        found = re.search(r"fee in (\w+) is (\d+ euros)", body["messages"][1]["content"])
        if "<document" not in body["messages"][1]["content"] and found is None:
            self._send(completion("", ""))  # asked for a fee by heart
            return
        assert found is not None and isinstance(self.server, TeacherServer)
        city, fee = found.groups()
        self.server.asked.append(city)
        quote = "Nobody wrote this." if city == "Oslo" else f"The parcel fee in {city} is {fee}"
        row = {"question": f"What does a parcel to {city} cost?", "quote": quote, "answer": fee}
        self._send("no json" if city == "Turin" else json.dumps({"examples": [row]}))

    def _send(self, content):
        sent = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *args):
        pass


@contextmanager
def teacher_endpoint() -> Iterator[TeacherServer]:
    """A teacher that runs as long as the block."""
    server = TeacherServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
