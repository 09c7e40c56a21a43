"""One RAFT example from a golden chunk, a written question and its distractors.

Pure: no store, no model, no Ray. Everything random comes from `(seed, chunk_id, question)`, so an
example is the same in every partition and every order of work.
Source: RAFT, arXiv 2403.10131, section 3.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from data_pipelines.distractors import choose_distractors, may_distract
from data_pipelines.teacher_config import TeacherConfig
from data_pipelines.teachers import WrittenQuestion
from rayraft.config import Config
from rayraft.metrics import normalise_answer
from rayraft.prompts import VERDICTS, completion
from rayraft.records import Chunk, Passage, RaftExample, digest


class WorkerConfig(Config):
    """Actors that write examples. None of this changes what they write."""

    actors: int | None = Field(default=None, ge=1, le=4096)
    """Each holds a retriever and a teacher; None: as many as there are CPUs, at most 16."""
    cpus_per_actor: float = Field(default=1.0, gt=0)
    gpus_per_actor: float = Field(default=0.0, ge=0)
    batch_chunks: int | None = Field(default=None, ge=1, le=4096)
    """Chunks handed to an actor at a time; None: 8, or with an endpoint, where an actor has two
    batches at once, half of what may be asked at once (`teacher.max_in_flight`)."""


class GuardConfig(Config):
    """Which distractors are taken for answers that nobody marked (`false_negatives`)."""

    reranker: str | None = "mini-reranker"
    """`mini-reranker`, a folder, or a cross-encoder of the hub; None: no guard."""
    margin: float = 0.0
    """A distractor is refused if its score is at least the golden passage's plus this."""


class FilterConfig(Config):
    """Which written questions are left out. People's own questions are not filtered."""

    golden_within: int | None = Field(default=20, ge=1, le=1000)
    """A question that does not find its golden document among so many chunks of hybrid search does
    not name its subject ("when did it open?"); None: not looked at."""
    near_duplicate: float = Field(default=0.8, gt=0, le=1)
    """Questions whose content words have at least this Jaccard similarity are one question; 1:
    only those of the very same words are."""


class RaftConfig(Config):
    """What RAFT examples are made of."""

    questions_per_chunk: int = Field(default=2, ge=1, le=50)
    distractors: int = Field(default=3, ge=0, le=50)
    """Passages beside the golden one; without it there is one more, and one less for each further
    golden one, so that the number of passages does not give away which are there."""
    golden_fraction: float = Field(default=0.8, ge=0, le=1)
    """Share of examples that show the golden passage: the paper's P."""
    missing_golden: Literal["abstain", "memory"] = "abstain"
    """What is written without the golden passage: the fixed phrase, or the answer from memory
    (the paper's way)."""
    random_distractor_share: float = Field(default=0.25, ge=0, le=1)
    """Share of distractors drawn from all chunks instead of retrieved for the question."""
    validation_fraction: float = Field(default=0.1, ge=0, le=0.5)
    """Share of the documents whose examples are for validation."""
    max_chunks: int | None = Field(default=None, ge=1)
    """Write for so many chunks only, chosen by `seed`; None for all."""
    groups: tuple[str, ...] = ()
    """Whose documents may be learned beside everybody's. An adapter tells what it learned to
    everyone who may use it, so the default is public documents only."""
    seed: int = Field(default=0, ge=0)
    guard: GuardConfig = GuardConfig()
    filters: FilterConfig = FilterConfig()
    teacher: TeacherConfig = TeacherConfig()
    workers: WorkerConfig = WorkerConfig()

    @property
    def batch_chunks(self) -> int:
        """Chunks in a batch."""
        return self.workers.batch_chunks or self.teacher.batch_chunks

    def asks_teacher(self, given: bool) -> bool:
        """Whether a teacher writes anything; `given`: the questions are people's."""
        return not given or self.teacher.reasoning == "written"


ARROW_SCHEMA = pa.schema(
    [
        ("example_id", pa.string()),
        ("chunk_id", pa.string()),
        ("document_id", pa.string()),
        ("question", pa.string()),
        (
            "passages",
            pa.list_(
                pa.struct(
                    [
                        ("chunk_id", pa.string()),
                        ("document_id", pa.string()),
                        ("title", pa.string()),
                        ("text", pa.string()),
                        ("start", pa.int64()),
                        ("end", pa.int64()),
                    ]
                )
            ),
        ),
        ("golden_ids", pa.list_(pa.string())),
        ("has_golden", pa.bool_()),
        ("quote", pa.string()),
        ("further_documents", pa.list_(pa.string())),
        ("further_quotes", pa.list_(pa.string())),
        ("answer", pa.string()),
        ("completion", pa.string()),
        ("split", pa.string()),
    ]
)
_PASSAGE_FIELDS = {"chunk_id", "document_id", "title", "text", "start", "end"}
"""Scores and metadata are left out: no prompt shows them."""


def assemble_example(
    golden: Chunk | Passage,
    written: WrittenQuestion,
    hard: Sequence[Passage],
    others: Sequence[Passage],
    config: RaftConfig,
) -> RaftExample:
    """The example for one written question; `split` is train until `with_split` says otherwise.

    Args:
        golden: The chunk that the question was written for, or is nearest to.
        written: Question, quote and answer.
        hard: Retrieved for the question, best first; unusable ones may be among them.
        others: Drawn at random; likewise.
        config: Numbers and shares.
    """
    rng = random.Random(digest(["example", config.seed, golden.chunk_id, written.question]))
    has_golden = written.is_answerable and rng.random() < config.golden_fraction
    needed = needed_passages(golden, written)
    answer = "" if normalise_answer(written.answer) in VERDICTS else written.answer
    shown = choose_distractors(
        [p for p in hard if all(may_distract(p, own, answer) for own in needed)],
        [p for p in others if all(may_distract(p, own, answer) for own in needed)],
        count=max(0, config.distractors + 1 - (len(needed) if has_golden else 0)),
        random_share=config.random_distractor_share,
        rng=rng,
    )
    if has_golden:
        shown += [shown_passage(passage) for passage in needed]
    rng.shuffle(shown)
    return RaftExample(
        example_id=digest([golden.chunk_id, written.question, config.seed]),
        chunk_id=golden.chunk_id,
        document_id=golden.document_id,
        question=written.question,
        passages=shown,
        golden_ids=[passage.chunk_id for passage in needed],
        has_golden=has_golden,
        quote=written.quote if has_golden else "",
        further_documents=[support.passage.document_id for support in written.supports],
        further_quotes=written.quotes[1:] if has_golden else [],
        answer=written.answer,
        completion=_target(written, has_golden, config),
        split="train",
    )


def needed_passages(golden: Chunk | Passage, written: WrittenQuestion) -> list[Chunk | Passage]:
    """The passages that the answer needs; none for a question without one."""
    if not written.is_answerable:
        return []
    return [golden, *(support.passage for support in written.supports)]


def _target(written: WrittenQuestion, has_golden: bool, config: RaftConfig) -> str:
    if has_golden:
        return completion(written.quotes, written.answer, written.reasoning)
    return completion("", written.answer if config.missing_golden == "memory" else "")


def example_fault(example: RaftExample) -> str | None:
    """Why an example must not be trained on, as a name to count under; None if it is sound."""
    if not example.passages:
        return "no_passage"
    shown = {p.chunk_id: p.text for p in example.passages if p.chunk_id in example.golden_ids}
    if not example.has_golden:
        return "golden_shown" if shown else None
    quotes = [example.quote, *example.further_quotes]
    if len(shown) < len(example.golden_ids) or len(quotes) < len(shown):
        return "golden_missing"
    verbatim = zip(example.golden_ids, quotes, strict=True)
    if not all(quote and quote in shown[chunk_id] for chunk_id, quote in verbatim):
        return "quote_not_verbatim"
    return None


def shown_passage(golden: Chunk | Passage) -> Passage:
    """A chunk as it is shown, golden or not."""
    return Passage(**golden.model_dump(include=_PASSAGE_FIELDS))


def validation_documents(document_ids: Iterable[str], config: RaftConfig) -> set[str]:
    """The documents whose examples are for validation, by a hash of seed and document id.

    A document stays on its side whatever is added to or removed from the others. Where the share
    would choose none of several documents, the one with the lowest hash is taken, so that small
    corpora have a validation loss too.
    """
    order = {i: int(digest(["split", config.seed, i])[:16], 16) / 2**64 for i in document_ids}
    if len(order) < 2 or config.validation_fraction == 0:
        return set()
    chosen = {i for i, place in order.items() if place < config.validation_fraction}
    return chosen or {min(order, key=lambda i: order[i])}


def with_split(examples: Iterable[RaftExample], config: RaftConfig) -> list[RaftExample]:
    """The examples sorted by id with their split set: the same list for any order of input.

    An example whose golden documents are on both sides is on neither, and left out.
    """
    ordered = sorted(examples, key=lambda example: example.example_id)
    documents = [{e.document_id, *e.further_documents} for e in ordered]
    held_out = validation_documents(set().union(*documents), config)
    return [
        example.model_copy(update={"split": "validation" if own <= held_out else "train"})
        for example, own in zip(ordered, documents, strict=True)
        if own <= held_out or not own & held_out
    ]


def to_table(examples: Sequence[RaftExample]) -> pa.Table:
    """The examples as Arrow; `RaftExample.model_validate(row)` reads a row back."""
    fields: dict[str, Any] = {name: True for name in ARROW_SCHEMA.names}
    fields["passages"] = {"__all__": _PASSAGE_FIELDS}
    rows = [example.model_dump(include=fields) for example in examples]
    return pa.Table.from_pylist(rows, schema=ARROW_SCHEMA)
