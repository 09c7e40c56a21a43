"""Every prompt of the project, and the parser of its answers.

RAFT generation, training features and the generator call the same functions; `prompt_digest()`
is in every adapter's manifest and a generator refuses an adapter with another one.
The answer form is RAFT's (arXiv 2403.10131, figure 3): quoted reasoning, then the answer.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from rayraft.records import Citation, Passage
from rayraft.verbatim import find, pattern_of

BEGIN_QUOTE = "##begin_quote##"
END_QUOTE = "##end_quote##"
ANSWER = "##Answer:"
ABSTAIN = "The documents do not contain the answer."
"""The fixed phrase of an answer that is none."""
VERDICTS = ("yes", "no")
"""Answers that often stand in no text: a document is judged, or several are compared."""

_ANSWER_SYSTEM = (
    "Answer the question from the documents. First copy the sentence that holds the answer between "
    f"{BEGIN_QUOTE} and {END_QUOTE}, then write {ANSWER} and the answer in as few words as "
    f"possible. If the documents do not hold the answer, write {ANSWER} {ABSTAIN}"
)
_CLOSED_BOOK_SYSTEM = (
    f"Answer the question from what you know. Write {ANSWER} and the answer in as few words as "
    f"possible. If you do not know, write {ANSWER} {ABSTAIN}"
)
_QUESTION_SYSTEM = (
    "Write one question that the given text answers with exactly the given words. The question "
    "names its subject, so that it can be understood without the text. Write the question alone."
)


class Message(TypedDict):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


def answer_messages(question: str, passages: Sequence[Passage]) -> list[Message]:
    """The prompt for an answer; with no passages, the closed-book prompt."""
    if not passages:
        return _chat(_CLOSED_BOOK_SYSTEM, f"Question: {_one_line(question)}")
    documents = "".join(_document(i, passage) for i, passage in enumerate(passages, start=1))
    return _chat(_ANSWER_SYSTEM, f"{documents}Question: {_one_line(question)}")


def question_messages(title: str, text: str, answer: str) -> list[Message]:
    """The prompt for a question that `text` answers with `answer`."""
    passage = Passage(chunk_id="", document_id="", title=title, text=text)
    return _chat(_QUESTION_SYSTEM, f"{_document(1, passage)}Answer: {_one_line(answer)}")


def completion(quote: str | Sequence[str], answer: str, reasoning: str = "") -> str:
    """The text a model must write: quotes (if any), then the answer; `""` means abstain.

    `reasoning`, with the quotes and their markers in it, stands in the place of the bare quotes.
    """
    quotes = [quote] if isinstance(quote, str) else quote
    quoted = "".join(f"{BEGIN_QUOTE} {one} {END_QUOTE} " for one in quotes if one)
    return f"{f'{reasoning} ' if reasoning else quoted}{ANSWER} {answer or ABSTAIN}"


@dataclass(frozen=True)
class ParsedAnswer:
    """A model's output, taken apart."""

    text: str
    quotes: list[str] = field(default_factory=list)
    abstained: bool = False


_QUOTE = re.compile(re.escape(BEGIN_QUOTE) + r"(.*?)(?:" + re.escape(END_QUOTE) + r"|$)", re.DOTALL)


def parse_answer(output: str) -> ParsedAnswer:
    """Answer, quotes and abstention of any model output; text without markers is the answer."""
    quotes = [quote.strip() for quote in _QUOTE.findall(output.split(ANSWER)[0])]
    text = output.rsplit(ANSWER, 1)[1] if ANSWER in output else _QUOTE.sub(" ", output)
    text = text.strip().strip("*").strip()
    abstained = not text or ABSTAIN.rstrip(".").lower() in text.lower()
    return ParsedAnswer(
        text=ABSTAIN if abstained else text, quotes=[q for q in quotes if q], abstained=abstained
    )


def find_citations(quotes: Sequence[str], passages: Sequence[Passage]) -> list[Citation]:
    """Quotes that stand in a shown passage, with their spans in the document's text.

    Case, accents and runs of white space may differ (small models see none of them); the citation
    carries the passage's own spelling. A quote that stands nowhere gives no citation.
    """
    citations = []
    for pattern in filter(None, map(pattern_of, quotes)):
        for passage in passages:
            found = find(pattern, passage.text)
            if found:
                start, end = found
                citations.append(
                    Citation(
                        chunk_id=passage.chunk_id,
                        document_id=passage.document_id,
                        quote=passage.text[start:end],
                        start=passage.start + start,
                        end=passage.start + end,
                    )
                )
                break
    return citations


def is_supported(raw: str, passages: Sequence[Passage]) -> bool:
    """Whether an output answers, quotes, and each of its quotes stands in a shown passage."""
    parsed = parse_answer(raw)
    return all_quoted(parsed, find_citations(parsed.quotes, passages))


def all_quoted(parsed: ParsedAnswer, citations: Sequence[Citation]) -> bool:
    """Whether an output answers, quotes, and each of its quotes is among the citations."""
    return not parsed.abstained and 0 < len(parsed.quotes) == len(citations)


def prompt_digest() -> str:
    """Hex sha256 over the rendered prompts and the target form: changes with any byte of them."""
    passage = Passage(chunk_id="c", document_id="d", title="T", text="A text.")
    rendered = repr(
        [
            answer_messages("Q?", []),
            answer_messages("Q?", [passage, passage]),
            question_messages("T", "A text.", "A"),
            completion("A text.", "A"),
            completion("", ""),
        ]
    )
    return hashlib.sha256(rendered.encode()).hexdigest()


def _chat(system: str, user: str) -> list[Message]:
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def _document(number: int, passage: Passage) -> str:
    title = _neutral(_one_line(passage.title))
    return f"<document {number}>\n{title}\n{_neutral(passage.text)}\n</document>\n"


def _neutral(text: str) -> str:
    # A document must not be able to close its own frame or to pose as another one.
    return re.sub(r"<(/?)document", "\u2039\\1document", text)


def _one_line(text: str) -> str:
    return " ".join(text.split())
