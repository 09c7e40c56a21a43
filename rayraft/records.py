"""The words of the project as records.

Document (source) > Chunk (stored piece) > Passage (chunk returned for a query, with scores).
A golden document is RAFT's oracle; a distractor is a passage that does not hold the answer.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Scalar = str | int | float | bool | None
Metadata = dict[str, Scalar]
Mode = Literal["closed_book", "rag", "raft", "rag_sequence", "rag_token", "blend", "auto"]
COMBINED_MODES: tuple[Mode, ...] = ("rag_sequence", "rag_token", "blend")
"""Modes that combine the distributions of several prompts; they cost several times as much."""
MODES: tuple[Mode, ...] = ("closed_book", "rag", "raft", *COMBINED_MODES, "auto")

PUBLIC = "public"
"""The group that everybody is in; a chunk with an empty `acl` is readable by it."""


class Record(BaseModel):
    """Base of the records."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Document(Record):
    """One source text."""

    document_id: str = Field(min_length=1, max_length=1024)
    title: str = ""
    text: str
    metadata: Metadata = Field(default_factory=dict)
    acl: list[str] = Field(default_factory=list)
    """Groups that may read it; empty means everybody."""
    uri: str = ""
    """Where it was read from."""

    def content_hash(self) -> str:
        """Hex sha256 over title, text, metadata and acl.

        Not over `uri`: a file that was moved is the same document.
        """
        stored = [self.title, self.text, self.metadata, sorted(self.acl)]
        return digest(stored)


class Chunk(Record):
    """One stored piece of a document; `text == document.text[start:end]`."""

    chunk_id: str
    document_id: str
    position: int = Field(ge=0)
    """Index of the chunk within its document, from 0."""
    title: str = ""
    text: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    """Character span in the document's text."""
    metadata: Metadata = Field(default_factory=dict)
    acl: list[str] = Field(default_factory=list)


class FoundBy(Record):
    """Why a search returned a passage; positions count from 1, None where it was not in a list."""

    dense_position: int | None = None
    sparse_position: int | None = None
    fused_position: int | None = None
    fused_score: float | None = None
    rerank_score: float | None = None
    beside: str | None = None
    """Chunk id of the hit next to which it stands in its document, if that is why."""


class Passage(Record):
    """A chunk returned for a query."""

    chunk_id: str
    document_id: str
    title: str = ""
    text: str
    start: int = 0
    end: int = 0
    metadata: Metadata = Field(default_factory=dict)
    score: float = 0.0
    """What the list is sorted by (fused, or the reranker's)."""
    dense_score: float | None = None
    """Cosine similarity, None if dense search did not return the chunk."""
    sparse_score: float | None = None
    """BM25, None if full-text search did not return the chunk."""
    updated_in: int | None = None
    """Knowledge base version that last wrote the chunk, None where it is unknown."""
    found: FoundBy | None = None
    """Why it was found, if a search returned it."""


class Question(Record):
    """One evaluation question; `answers == []` means that it cannot be answered."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = Field(min_length=1)
    question: str = Field(min_length=1)
    answers: list[str]
    """Alternatives: any one is right."""
    gold_ids: list[str] = Field(default_factory=list)
    """Document ids."""
    any_gold: bool = False
    """Any one of `gold_ids` answers; otherwise all of them are needed."""
    kind: str = ""
    groups: list[str] = Field(default_factory=list)
    """Groups of the person who asks."""


class RaftExample(Record):
    """One RAFT training row (arXiv 2403.10131): what is shown and what must be written."""

    example_id: str
    """Digest of chunk id, question and seed."""
    chunk_id: str
    document_id: str
    question: str
    passages: list[Passage]
    """What is shown, in the order shown: golden (if `has_golden`) among distractors."""
    golden_ids: list[str]
    """Chunk ids of the golden passages, shown or not; none where the question has no answer."""
    has_golden: bool
    quote: str
    """Verbatim text of a shown passage, empty without the golden one."""
    further_documents: list[str] = Field(default_factory=list)
    """Document ids of the other golden passages, where the answer needs several."""
    further_quotes: list[str] = Field(default_factory=list)
    """Verbatim text of each of those, empty without them."""
    answer: str
    completion: str
    """The target text: `prompts.completion(...)`."""
    split: Literal["train", "validation"]

    @property
    def golden_documents(self) -> list[str]:
        """Ids of the documents that the answer needs; none where the question has no answer."""
        return [self.document_id, *self.further_documents] if self.golden_ids else []


class Usage(Record):
    """Tokens of one answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Citation(Record):
    """A quote found verbatim in a shown passage."""

    chunk_id: str
    document_id: str
    quote: str
    start: int
    end: int
    """Character span of the quote in the document's text."""


class Routing(Record):
    """How one answer was chosen, in numbers; `Answer.route` says it in words."""

    chosen_by: Literal["caller", "rule", "router"] = "caller"
    router: str | None = None
    """The published router that chose, None without one."""
    k: int = 0
    """Passages shown."""
    w: float | None = None
    """Mode blend: share of the side that sees passages."""
    mu: float | None = None
    """What a unit of cost was worth."""
    expected: dict[str, float] = Field(default_factory=dict)
    """Way to answer -> expected quality, 0 to 1."""
    costs: dict[str, float] = Field(default_factory=dict)
    """Way to answer -> cost as a share of the dearest one's."""
    why: list[tuple[str, float]] = Field(default_factory=list)
    """Features that spoke most for (+) or against (-) the choice, in log-odds."""
    features: dict[str, float] = Field(default_factory=dict)
    """All that the router saw."""
    clipped: list[str] = Field(default_factory=list)
    """Features outside the range that the router was fitted on."""
    missing: list[str] = Field(default_factory=list)
    """Features that were not known."""
    tokens: dict[str, int] = Field(default_factory=dict)
    """Stage -> tokens read and written."""


class CacheUse(Record):
    """What the answer cache had to do with an answer."""

    outcome: Literal["miss", "exact", "semantic"]
    """`exact`: the same words were answered before; `semantic`: nearly the same."""
    similarity: float | None = None
    """Of a hit: cosine of the two questions' embeddings."""
    age_s: float | None = None
    """Of a hit: how long ago the answer was made."""


class Answer(Record):
    """What a person gets."""

    text: str
    """The answer alone, without reasoning and markers."""
    raw: str = ""
    """The model's whole output."""
    abstained: bool = False
    supported: bool = False
    """Whether it quotes, and every quote stands in a passage that was shown."""
    quotes: list[str] = Field(default_factory=list)
    citations: list[Citation] = Field(default_factory=list)
    passages: list[Passage] = Field(default_factory=list)
    mode: str
    route: str = ""
    """Why the router chose the mode; empty when the caller chose it."""
    routing: Routing = Field(default_factory=Routing)
    kb_version: int | None = None
    """Version searched; None when nothing was retrieved."""
    adapter: str | None = None
    retrieval_weight: float | None = None
    """Mode blend: the share of the side that saw passages."""
    cache: CacheUse | None = None
    """None where there is no cache, or it was not to be used; a hit has cost no tokens."""
    timings_ms: dict[str, float] = Field(default_factory=dict)
    usage: Usage = Field(default_factory=Usage)
    mean_logprob: float | None = None
    """Of the model's whole output, nats a token; None where the model does not tell it."""


def may_read(acl: Sequence[str] | None, groups: Sequence[str]) -> bool:
    """Whether somebody in `groups` may read what has this `acl`: the one rule of access."""
    return not acl or not {*groups, PUBLIC}.isdisjoint(acl)


def digest(value: Any) -> str:
    """Hex sha256 of a JSON-able value, independent of key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
