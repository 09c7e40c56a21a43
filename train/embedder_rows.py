"""Training rows of an embedder: groups of questions with the passages that they are told apart by.

Knows tokens and passages; no model, no Ray, no search.
"""

import random
from collections.abc import Iterator, Sequence

import pyarrow as pa

from data_pipelines.schema import embedded_text
from rayraft.models.embedder_tokenizer import EmbedderTokenizer
from rayraft.records import Passage, digest
from train.contrastive import RIGHT, WRONG
from train.features import FEATURES, IGNORED
from train.rerank_rows import Contrast, holds_answer


def groups(rows: Sequence[Contrast], size: int, passes: int, seed: int) -> Iterator[list[Contrast]]:
    """Every row once a pass, in groups of nearly equal size, other ones in each pass."""
    count = max(1, round(len(rows) / size))
    for number in range(passes):
        order = sorted(rows, key=lambda row: digest([seed, number, row.question.id]))
        for group in range(count):
            if chosen := order[group::count]:
                yield chosen


def relations(group: Sequence[Contrast], passages: Sequence[Passage]) -> list[int]:
    """What each passage is to each question, question by question: RIGHT, WRONG or IGNORED.

    Exactly one is RIGHT for a question. IGNORED is what may answer it as well: another question's
    passage that is of its golden documents or holds its answer.
    """
    made = []
    for row in group:
        hard = {passage.chunk_id for passage in row.wrong}
        for passage in passages:
            if passage.chunk_id == row.right.chunk_id:
                made.append(RIGHT)
            elif passage.chunk_id in hard:
                made.append(WRONG)
            else:
                may_answer = passage.document_id in row.question.gold_ids or holds_answer(
                    passage, row.question
                )
                made.append(IGNORED if may_answer else WRONG)
    return made


def group_features(
    made: Iterator[list[Contrast]], tokenizer: EmbedderTokenizer, max_tokens: int, negatives: int
) -> pa.Table:
    """The groups as `contrastive.ContrastiveEncoder` takes them."""
    encoded = []
    for group in made:
        shown = _passages(group, negatives)
        texts = [row.question.question for row in group]
        texts += [embedded_text(passage.title, passage.text) for passage in shown]
        ids = [i for text in tokenizer.encode(texts) for i in _segment(text, max_tokens)]
        encoded.append({"input_ids": ids, "labels": relations(group, shown)})
    return pa.Table.from_pylist(encoded, schema=FEATURES)


def _passages(group: Sequence[Contrast], negatives: int) -> list[Passage]:
    """All of a group, each chunk once."""
    own = [[row.right, *_drawn(row, negatives)] for row in group]
    return list({passage.chunk_id: passage for row in own for passage in row}.values())


def _drawn(row: Contrast, negatives: int) -> list[Passage]:
    rng = random.Random(row.question.id)
    return rng.sample(row.wrong, min(len(row.wrong), negatives))


def _segment(ids: list[int], max_tokens: int) -> list[int]:
    """One text's ids; [CLS] stands at its beginning alone, even if somebody wrote it into it."""
    inner = [i for i in ids[1:-1] if i != ids[0]][: max_tokens - 2]
    return [ids[0], *inner, ids[-1]]
