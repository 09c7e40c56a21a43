"""Questions that ask nearly the same: found among all of a run, whatever their number.

Two questions are near-duplicates if their sets of content words have a Jaccard similarity of at
least a threshold. Candidates are found by prefix filtering (Chaudhuri et al. 2006, Bayardo et al.
2007): two sets that similar share one of the first few of their rarest words. Pure.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

_WORD = re.compile(r"\w+")
_COMMON_WORDS = (
    "a an the of in on at to for from by with and or is are was were be been do does did has have "
    "had can could will would shall should may must what which who whom whose when where why how "
    "many much there it its this that these those"
)
_COMMON = frozenset(_COMMON_WORDS.split())


def near_duplicates(questions: Sequence[str], threshold: float) -> set[int]:
    """Indices of questions that ask nearly what an earlier one asks; the earlier one stays.

    Args:
        questions: In the order of precedence.
        threshold: Jaccard similarity from which two are the same, above 0 to 1.
    """
    words = [content_words(question) for question in questions]
    frequency = Counter(word for own in words for word in own)
    kept_by_word: dict[str, list[int]] = defaultdict(list)
    doubled: set[int] = set()
    for index, own in enumerate(words):
        rarest = sorted(own, key=lambda word: (frequency[word], word))
        prefix = rarest[: len(own) - math.ceil(threshold * len(own)) + 1]
        candidates = {other for word in prefix for other in kept_by_word[word]}
        if any(_jaccard(own, words[other]) >= threshold for other in candidates):
            doubled.add(index)
            continue
        for word in prefix:
            kept_by_word[word].append(index)
    return doubled


def content_words(question: str) -> frozenset[str]:
    """What a question asks about: its words but for the commonest, all of them if no other is."""
    words = frozenset(_WORD.findall(question.lower()))
    return words - _COMMON or words


def _jaccard(ours: frozenset[str], theirs: frozenset[str]) -> float:
    return len(ours & theirs) / len(ours | theirs)
