"""The demo's conversation with the service, printed as it happens."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from rayraft.demo.corpus import ChangedFact, Edit, edited_document, edited_fact
from rayraft.demo.http import Service
from rayraft.records import Answer, Question

MODE = "rag"
"""No adapter has learned from what is about to change, so base model and passages answer."""


class Conversation:
    """Asks, changes documents and asks again."""

    def __init__(self, service: Service, console: Console) -> None:
        self._service = service
        self._console = console

    def hold(self, edit: Edit) -> None:
        """A question, the change of its document, the same question again."""
        self._ask(edit, edit.before, None)
        start = time.monotonic()
        version = self.put([edit])
        self._ask(edit, edit.after, version)
        self._say(f"From the write to the new answer: {time.monotonic() - start:.1f} s.")

    def put(self, edits: Sequence[Edit]) -> int:
        """Writes the changed documents; the knowledge base version that has them all."""
        version = 0
        for edit in edits:
            document = self._service.document(edit.document_id)
            version = self._service.put_document(edit.document_id, {**document, "text": edit.text})
            self._say(
                f"[bold cyan]PUT /v1/documents/{escape(edit.document_id)}[/] -> "
                f'"kb_version": {version}'
            )
        return version

    def delete(self, document_ids: Sequence[str]) -> None:
        """Deletes documents."""
        for document_id in document_ids:
            version = self._service.delete_document(document_id)
            self._say(
                f"[bold cyan]DELETE /v1/documents/{escape(document_id)}[/] -> "
                f'"kb_version": {version}'
            )

    def first_edit(self, facts: Sequence[ChangedFact]) -> Edit | None:
        """The first fact whose old answer its document holds verbatim; nothing is written."""
        for fact in facts:
            text = self._service.document(fact.question.gold_ids[0])["text"]
            edit = edited_document(fact, text)
            if edit is not None:
                return edit
        return None

    def edit_facts(self, questions: Sequence[tuple[Question, str]], limit: int) -> list[Edit]:
        """Up to `limit` edits of known answers, each in another document; nothing is written."""
        answers = [question.answers[0] for question, _ in questions]
        edits: dict[str, Edit] = {}
        for question, quote in questions:
            document_id = question.gold_ids[0]
            if len(edits) == limit:
                break
            if document_id in edits:
                continue
            text = self._service.document(document_id)["text"]
            edit = edited_fact(question, quote, text, answers)
            if edit is not None:
                edits[document_id] = edit
        return list(edits.values())

    def _ask(self, edit: Edit, expected: Sequence[str], min_kb_version: int | None) -> None:
        wanted = "" if min_kb_version is None else f' ("min_kb_version": {min_kb_version})'
        self._say(f"\n[bold cyan]POST /v1/chat/completions[/] model rayraft/{MODE}{wanted}")
        self._say(f"[bold]Q[/] {escape(edit.question)}")
        start = time.monotonic()
        answer = self._service.ask(edit.question, MODE, min_kb_version)
        seconds = time.monotonic() - start
        self._say(f"[bold]A[/] {escape(answer.text)}")
        for citation in answer.citations:
            self._say(f"   [dim]{escape(citation.document_id)}:[/] “{escape(citation.quote)}”")
        self._say(
            f"   [dim]{escape(summary(answer, seconds))}; the document says: {expected[0]}[/]"
        )

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False)


def summary(answer: Answer, seconds: float) -> str:
    """Who answered, from which version, how fast."""
    parts = [f"mode {answer.mode}"]
    if answer.route:
        parts.append(f"chosen since {answer.route}")
    if answer.adapter:
        parts.append(f"adapter {answer.adapter}")
    parts += [f"kb_version {answer.kb_version}", f"{1000 * seconds:.0f} ms"]
    return ", ".join(parts)
