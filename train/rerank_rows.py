"""Training rows of the reranker: a question, a passage that answers it, and hard negatives.

Negatives are what our own hybrid search returns for the question and what neither belongs to a
golden document nor holds an answer (the guard against false negatives of arXiv 2010.08191).
Knows a searcher; no model, no Ray.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from data_pipelines.in_process import Searcher
from data_pipelines.schema import embedded_text
from rayraft.models.rendering import encode_pairs
from rayraft.models.reranker import MAX_TOKENS
from rayraft.records import Passage, Question, digest
from train.features import FEATURES

SEARCHED_AT_ONCE = 64


@dataclass(frozen=True)
class Mining:
    """How many negatives, and from where."""

    candidates: int
    """Hits looked at."""
    negatives: int
    """Negatives of a row, at most."""
    seed: int


@dataclass(frozen=True)
class Contrast:
    """A question with the passage that answers it and hard ones that do not."""

    question: Question
    right: Passage
    wrong: list[Passage]


@dataclass(frozen=True)
class RankRow:
    """A question with its passages; the one at `label` is right."""

    question: str
    passages: list[str]
    label: int


def mine(
    questions: Sequence[Question],
    searcher: Searcher,
    golden: Mapping[str, Sequence[Passage]],
    settings: Mining,
) -> Iterator[RankRow]:
    """The passages of `contrasts` as rows, in an order by question and seed."""
    for found, rng in _drawn(questions, searcher, golden, settings):
        passages = [found.right, *found.wrong]
        order = rng.sample(range(len(passages)), len(passages))
        yield RankRow(
            found.question.question,
            [embedded_text(passages[i].title, passages[i].text) for i in order],
            order.index(0),
        )


def contrasts(
    questions: Sequence[Question],
    searcher: Searcher,
    golden: Mapping[str, Sequence[Passage]],
    settings: Mining,
) -> Iterator[Contrast]:
    """Each question that has a golden passage and at least one negative, with both.

    Args:
        questions: With `gold_ids`.
        searcher: Over their corpus.
        golden: Document id -> its chunks.
        settings: Of the mining; what is drawn depends on seed and question alone.
    """
    for found, _ in _drawn(questions, searcher, golden, settings):
        yield found


def _drawn(
    questions: Sequence[Question],
    searcher: Searcher,
    golden: Mapping[str, Sequence[Passage]],
    settings: Mining,
) -> Iterator[tuple[Contrast, random.Random]]:
    for start in range(0, len(questions), SEARCHED_AT_ONCE):
        part = questions[start : start + SEARCHED_AT_ONCE]
        found = searcher.search([q.question for q in part], settings.candidates)
        for question, hits in zip(part, found, strict=True):
            own = [chunk for document in question.gold_ids for chunk in golden.get(document, ())]
            rng = random.Random(digest([settings.seed, question.id]))
            contrast = _contrast(question, hits, own, settings.negatives, rng)
            if contrast is not None:
                yield contrast, rng


def _contrast(
    question: Question,
    hits: Sequence[Passage],
    own: Sequence[Passage],
    negatives: int,
    rng: random.Random,
) -> Contrast | None:
    right = [chunk for chunk in own if holds_answer(chunk, question)] or list(own)
    wrong = [
        hit
        for hit in hits
        if hit.document_id not in question.gold_ids and not holds_answer(hit, question)
    ]
    if not right or not wrong:
        return None
    # Half from the first ten, where the order is decided, half from all.
    near = rng.sample(wrong[:10], min(len(wrong[:10]), negatives - negatives // 2))
    rest = [hit for hit in wrong if hit not in near]
    chosen = near + rng.sample(rest, min(len(rest), negatives - len(near)))
    return Contrast(question, rng.choice(right), chosen)


def holds_answer(passage: Passage, question: Question) -> bool:
    """Whether an answer stands in the passage, case ignored."""
    text = passage.text.lower()
    return any(answer.strip() and answer.lower() in text for answer in question.answers)


def rank_features(
    rows: Sequence[RankRow], tokenizer: PreTrainedTokenizerBase, max_tokens: int = MAX_TOKENS
) -> pa.Table:
    """Each row's passages as segments of one source, and the right one's number as its label."""
    encoded = []
    for row in rows:
        pairs = encode_pairs(tokenizer, row.question, row.passages, max_tokens)
        ids = [token for segment in pairs for token in segment]
        encoded.append({"input_ids": ids, "labels": [row.label]})
    return pa.Table.from_pylist(encoded, schema=FEATURES)
