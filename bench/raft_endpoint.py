"""An OpenAI-compatible endpoint on the loopback interface that is as slow as a hosted one.

Its words are the shipped model's: questions, quotes and answers are written for all chunks before
the clock runs. What it adds is time: some seconds to the first token, then so many tokens a second,
for as many requests as come at once. It knows our teacher's prompts
and those of gorilla's `raft.py`.
"""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from data_pipelines.teachers import WrittenQuestion
from rayraft.prompts import ABSTAIN, ANSWER, BEGIN_QUOTE, END_QUOTE

FIRST_TOKEN_S = 0.3
TOKENS_PER_S = 60.0
CHARS_PER_TOKEN = 4
PEER_ANSWER = "<ANSWER>: "


class Endpoint(ThreadingHTTPServer):
    """Answers from what was written.

    Args:
        written: Chunk text -> its questions.
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, written: Mapping[str, Sequence[WrittenQuestion]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._written = written
        self._by_question = {w.question: w for own in written.values() for w in own}
        self._lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        """How often each prompt came."""
        self.answered: list[tuple[float, str]] = []
        """When each reply was sent, and the prompt."""
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def reply(self, messages: Sequence[Mapping[str, str]]) -> str:
        """What the model says to these messages, whoever wrote them."""
        user = messages[-1]["content"]
        with self._lock:
            self.asked[user] += 1
        label = re.search(r"Question: (.*?)\n\s*Context: ", user, re.DOTALL)
        if label:
            return self._label(label.group(1))
        ours = re.search(r"Document:\n(.*)\n\nWrite \d+ question", user, re.DOTALL)
        if ours:
            rows = [
                {"question": w.question, "quote": w.quote, "answer": w.answer}
                for w in self._written[ours.group(1)]
            ]
            return json.dumps({"examples": rows})
        if user in self._written:
            return "\n".join(w.question for w in self._written[user])
        return f"{ANSWER} {ABSTAIN}"  # a question without its document

    def _label(self, question: str) -> str:
        found = self._by_question[question.strip()]
        return (
            f"The context says {BEGIN_QUOTE}{found.quote}{END_QUOTE}.\n{PEER_ANSWER}{found.answer}"
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, Endpoint)
        text = self.server.reply(body["messages"])
        tokens = -(-len(text) // CHARS_PER_TOKEN)
        time.sleep(FIRST_TOKEN_S + tokens / TOKENS_PER_S)
        self._send(text, body, tokens)
        self.server.answered.append((time.monotonic(), body["messages"][-1]["content"]))

    def _send(self, text: str, body: Mapping[str, Any], tokens: int) -> None:
        asked = sum(len(m["content"]) for m in body["messages"]) // CHARS_PER_TOKEN
        sent = json.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": text},
                    }
                ],
                "usage": {
                    "prompt_tokens": asked,
                    "completion_tokens": tokens,
                    "total_tokens": asked + tokens,
                },
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def serving(written: Mapping[str, Sequence[WrittenQuestion]]) -> Iterator[Endpoint]:
    """An endpoint that runs as long as the block."""
    server = Endpoint(written)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
