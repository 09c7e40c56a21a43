"""Which passages may stand beside a golden one without answering its question too.

Pure functions over passages that somebody else retrieved; every choice comes from the `rng`.
"""

import functools
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from data_pipelines.question_checks import holds_answer
from rayraft.records import Chunk, Passage

NEAR_DUPLICATE = 0.6
"""Jaccard similarity of word trigrams from which texts with the same facts are the same text."""


def is_near_duplicate(text: str, other: str) -> bool:
    """True if one text holds the other, or both state the same facts in nearly the same words.

    Facts are numbers and capitalised words. Policies that differ by region have nearly the same
    words and other facts: the most useful distractors of all, and no duplicates.
    """
    ours, theirs = _shingles(text), _shingles(other)
    common = len(ours & theirs)
    if common == min(len(ours), len(theirs)):
        return True
    return common / len(ours | theirs) >= NEAR_DUPLICATE and _facts(text) == _facts(other)


def may_distract(passage: Passage, golden: Chunk | Passage, answer: str) -> bool:
    """True if `passage` can stand beside `golden` as one that does not hold `answer`.

    A passage that holds the answer's words may answer the question (a false negative); it is left
    out even where it speaks of something else, because a wrong label costs more than a distractor.
    """
    return (
        passage.chunk_id != golden.chunk_id
        and not holds_answer(passage.text, answer)
        and not is_near_duplicate(passage.text, golden.text)
    )


def choose_distractors(
    hard: Sequence[Passage],
    others: Sequence[Passage],
    count: int,
    random_share: float,
    rng: random.Random,
) -> list[Passage]:
    """At most `count` different passages: hard ones best first, and a share of random others.

    Args:
        hard: Retrieved for the question, best first, all of them usable.
        others: Drawn at random, all of them usable.
        count: Passages wanted; where one source runs out the other one fills in.
        random_share: Expected share of passages from `others`.
        rng: Rounds `count * random_share` up or down so that its mean is exact.
    """
    wanted_random = int(count * random_share + rng.random())
    chosen = list(islice(_different(hard, []), count - wanted_random))
    chosen += islice(_different(others, chosen), wanted_random)
    return chosen + list(islice(_different([*hard, *others], chosen), count - len(chosen)))


def _different(passages: Iterable[Passage], taken: Sequence[Passage]) -> Iterator[Passage]:
    seen = list(taken)
    for passage in passages:
        if not any(_same(passage, other) for other in seen):
            seen.append(passage)
            yield passage


def _same(passage: Passage, other: Passage) -> bool:
    return passage.chunk_id == other.chunk_id or is_near_duplicate(passage.text, other.text)


@functools.lru_cache(maxsize=4096)
def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return frozenset(tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2)))


@functools.lru_cache(maxsize=4096)
def _facts(text: str) -> frozenset[str]:
    words = re.findall(r"\w+", text)
    return frozenset(w.lower() for w in words if w[0].isupper() or any(c.isdigit() for c in w))
