"""Fakes for the service's tests: a whole service in memory, and a model that follows a script."""

import re
import time
from dataclasses import dataclass

import numpy as np

from rayraft.answering import Retrieved
from rayraft.errors import NotFoundError, VersionTimeout
from rayraft.prompts import completion
from rayraft.records import Answer, Citation, Document, Passage, Usage
from rayraft.tenants import may_use_adapter
from serve.access import check_may_replace, read_document
from serve.openapi import EXAMPLES

ADAPTER = EXAMPLES["adapters"]["data"][0]
PASSAGE = Passage(chunk_id="d#0", document_id="d", title="T", text="The fee is 5 EUR.", score=1.0)


class FakeService:
    """Keeps what it was asked; `fails_with` is raised by every call, after `pieces` if streamed."""

    def __init__(self):
        self.asked, self.searches, self.documents, self.feedback = [], [], {}, []
        self.fails_with, self.pieces, self.closed = None, ["5 ", "EUR"], False
        self.promoted = []

    def _answer(self, request):
        return Answer(
            text="".join(self.pieces),
            mode="rag" if request.mode == "auto" else request.mode,
            route="because",
            kb_version=7,
            adapter=request.adapter,
            quotes=["The fee is 5 EUR."],
            citations=[Citation(chunk_id="d#0", document_id="d", quote="The fee", start=0, end=7)],
            passages=[PASSAGE],
            timings_ms={"total": 1.0},
            usage=Usage(prompt_tokens=10, completion_tokens=2),
        )

    async def answer(self, request):
        self.asked.append(request)
        if self.fails_with:
            raise self.fails_with
        return self._answer(request)

    async def answer_stream(self, request):
        self.asked.append(request)
        try:
            for piece in self.pieces:
                yield piece
            if self.fails_with:
                raise self.fails_with
            yield self._answer(request)
        finally:
            self.closed = True

    async def search(self, search):
        self.searches.append(search)
        if search.min_kb_version and search.min_kb_version > 7:
            raise VersionTimeout(f"min_kb_version={search.min_kb_version}: at 7")
        return Retrieved([PASSAGE], 7)

    async def embed(self, texts):
        return np.eye(len(texts), 4, dtype=np.float32), 3 * len(texts)

    async def rerank(self, query, texts):
        words = set(query.split())
        return [len(words & set(text.split())) / len(words) for text in texts], 5 * len(texts)

    async def adapters(self, groups):
        return [facts["id"] for facts in await self.adapter_facts(groups)]

    async def adapter_facts(self, groups):
        known = [{**ADAPTER, "id": name} for name in ("support-v3", "acme--own-v1", "other--x-v1")]
        return [facts for facts in known if may_use_adapter(facts["id"], groups)]

    async def promote(self, adapter_id, note):
        self.promoted.append((adapter_id, note))
        return ["reading"]

    async def rollback(self, role, tenant):
        self.promoted.append((role, tenant))
        return "support-v2"

    async def document(self, document_id, groups):
        return read_document(_Stored(self.documents), document_id, groups), 7

    async def put_documents(self, documents, groups):
        for document in documents:
            stored = self.documents.get(document.document_id)
            check_may_replace(stored.acl if stored else None, document.document_id, groups)
        self.documents.update({document.document_id: document for document in documents})
        return 8

    async def delete_document(self, document_id, groups):
        await self.document(document_id, groups)
        del self.documents[document_id]
        return 9

    async def add_feedback(self, feedback):
        self.feedback.append(feedback)
        return len(self.feedback)

    async def ready(self):
        if self.fails_with:
            raise self.fails_with
        return 7


@dataclass
class _Stored:
    documents: dict[str, Document]
    version: int = 7

    def document(self, document_id):
        if document_id not in self.documents:
            raise NotFoundError(f"no document {document_id!r}")
        return self.documents[document_id]


class ScriptedModel:
    """Reads the shown documents like a small model that is never wrong about word overlap.

    Answers with the last word of the sentence that shares most words with the question; abstains
    if none shares two. Uncased, as the shipped model. `slow` in a question costs three seconds, in
    which even a slow machine has sent all that a test sends at once.
    """

    base_digest = "scripted"
    reads_at_once = 0

    def __init__(self):
        self.adapters = set()

    def load_adapter(self, name, path):
        assert (path / "adapter_model.safetensors").read_bytes() == b"weights"
        self.adapters.add(name)

    def unload_adapter(self, name):
        self.adapters.remove(name)

    def read(self, row):
        return None

    def shares_batches(self, adapter):
        return adapter is None or adapter in self.adapters

    def open_rows(self, limits):
        return None

    def generate_rows(self, rows):
        assert all(self.shares_batches(row.adapter) for row in rows)
        if any("slow" in row.messages[-1]["content"].rsplit("Question:", 1)[1] for row in rows):
            time.sleep(3)
        outputs = [Output(self._write(row.messages, row.adapter)) for row in rows]
        for start in range(0, max(len(output.text) for output in outputs), 5):
            time.sleep(0.005 * any(row.on_text is not None for row in rows))
            for row, output in zip(rows, outputs, strict=True):
                if row.on_text is not None and start < len(output.text):
                    row.on_text(output.text[start : start + 5])
        return outputs

    def generate_combined(self, views, combine, *, max_new_tokens=96, wanted=None):
        best = max(views, key=lambda view: view.weight)
        return Output(self._write(best.messages, best.adapter))

    def _write(self, prompt, adapter):
        shown, _, question = prompt[-1]["content"].rpartition("Question:")
        asked = set(re.findall(r"\w{3,}", question.lower()))
        lines = [line for line in shown.splitlines() if not line.startswith("<")]
        sentences = re.split(r"(?<=[.!?])\s+", "\n".join(lines).replace("\n", ". ").lower())
        best = max(sentences, key=lambda s: len(asked & set(re.findall(r"\w{3,}", s))), default="")
        if len(asked & set(re.findall(r"\w{3,}", best))) < 2:
            return completion("", "")
        return completion(best.strip(". "), best.strip(". ").split()[-1])


@dataclass
class Output:
    text: str
    prompt_tokens: int = 20
    completion_tokens: int = 5
