"""Reasoning before an answer: a few sentences around verbatim quotes, written by a teacher.

The teacher is shown the golden passages, the question and the answer, and writes the way from one
to the other. What it writes is used only if every quote stands in a golden passage and every
golden passage is quoted; otherwise the question keeps its plain quotes, and that is counted.
Source: RAFT, arXiv 2403.10131, figure 3.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from data_pipelines.question_checks import find_span
from data_pipelines.teachers import Support, TeacherRequest, TeacherResult, WrittenQuestion
from rayraft.prompts import ANSWER, BEGIN_QUOTE, END_QUOTE, Message
from rayraft.records import Passage

Complete = Callable[[Sequence[list[Message]]], Sequence[str]]
"""One output a prompt, in order; empty where there is none."""

# Stands here and not in rayraft.prompts because no model of this project ever sees it: its digest
# belongs to the teacher, not to adapters.
SYSTEM = (
    "You are given documents, a question and its answer. Write in one to three sentences how the "
    "documents lead to the answer. Copy what you use character by character between "
    f"{BEGIN_QUOTE} and {END_QUOTE}, at least once from each document. Write nothing else, and do "
    "not write the final answer on a line of its own."
)
MAX_TOKENS = 256
MAX_CHARS = 2000
NOT_VERIFIED = "reasoning_not_verified"
"""Reason under which reasoning is counted that was replaced by plain quotes."""
_QUOTE = re.compile(re.escape(BEGIN_QUOTE) + r"(.*?)" + re.escape(END_QUOTE), re.DOTALL)


@dataclass(frozen=True)
class _Task:
    request: int
    place: int
    written: WrittenQuestion
    golden: list[Passage]


def explain_results(
    requests: Sequence[TeacherRequest], results: Sequence[TeacherResult], complete: Complete
) -> list[TeacherResult]:
    """The results with the reasoning of every question, where it holds.

    Args:
        requests: The chunks.
        results: What was written for each.
        complete: Asks the teacher.
    """
    tasks = [
        _Task(index, place, written, golden_passages(request, written.supports))
        for index, (request, result) in enumerate(zip(requests, results, strict=True))
        for place, written in enumerate(result.written)
        if written.is_answerable
    ]
    explained = [list(result.written) for result in results]
    dropped = [Counter(result.dropped) for result in results]
    outputs = complete([reasoning_messages(task.written, task.golden) for task in tasks])
    for task, output in zip(tasks, outputs, strict=True):
        reasoning = verified_reasoning(output, task.golden)
        if reasoning is None:
            dropped[task.request][NOT_VERIFIED] += 1
        else:
            explained[task.request][task.place] = replace(task.written, reasoning=reasoning)
    return [
        replace(result, written=written, dropped=counts)
        for result, written, counts in zip(results, explained, dropped, strict=True)
    ]


def golden_passages(request: TeacherRequest, supports: Sequence[Support]) -> list[Passage]:
    """The chunk that was asked about, then the others that the answer needs."""
    own = Passage(chunk_id=request.chunk_id, document_id="", title=request.title, text=request.text)
    return [own, *(support.passage for support in supports)]


def reasoning_messages(written: WrittenQuestion, golden: Sequence[Passage]) -> list[Message]:
    """The prompt for the reasoning of one question."""
    documents = "".join(f"Title: {p.title}\nDocument:\n{p.text}\n\n" for p in golden)
    user = f"{documents}Question: {written.question}\nAnswer: {written.answer}"
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]


def verified_reasoning(output: str, golden: Sequence[Passage]) -> str | None:
    """The reasoning with its quotes as the passages spell them; None if it does not hold."""
    text = " ".join(output.split(ANSWER)[0].split())
    if not text or len(text) > MAX_CHARS or text.count(BEGIN_QUOTE) != text.count(END_QUOTE):
        return None
    quoted: set[str] = set()
    spelled = []
    for quote in _QUOTE.findall(text):
        found = [(p, span) for p in golden if (span := find_span(p.text, quote)) is not None]
        if not found:
            return None
        quoted |= {passage.chunk_id for passage, _ in found}
        passage, span = found[0]
        spelled.append(passage.text[span.start : span.end])
    if quoted != {passage.chunk_id for passage in golden}:
        return None
    own = iter(spelled)
    return _QUOTE.sub(lambda _: f"{BEGIN_QUOTE} {next(own)} {END_QUOTE}", text)
