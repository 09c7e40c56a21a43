"""A service in memory for the tests of the HTTP API: no model, no Ray."""

import numpy as np

from rayraft.answering import Retrieved
from rayraft.errors import NotFoundError, VersionTimeout
from rayraft.records import Answer, Citation, Passage, Usage

PASSAGE = Passage(chunk_id="d#0", document_id="d", title="T", text="The fee is 5 EUR.", score=1.0)


class FakeService:
    """Keeps what it was asked; `fails_with` is raised by every call, after `pieces` if streamed."""

    def __init__(self):
        self.asked, self.searches, self.documents = [], [], {}
        self.fails_with, self.pieces, self.closed = None, ["5 ", "EUR"], False

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

    async def adapters(self):
        return ["support-v3"]

    async def document(self, document_id, groups):
        if document_id not in self.documents:
            raise NotFoundError(f"no document {document_id!r}")
        return self.documents[document_id], 7

    async def put_document(self, document, groups):
        self.documents[document.document_id] = document
        return 8

    async def delete_document(self, document_id, groups):
        await self.document(document_id, groups)
        del self.documents[document_id]
        return 9

    async def ready(self):
        if self.fails_with:
            raise self.fails_with
        return 7
