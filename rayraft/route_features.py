"""What a router sees of a question before it is answered: numbers that cost next to nothing.

Of the question's words, of what was retrieved for it, of what has changed since the adapter was
trained, and of a closed-book draft where one was made. A feature that is not known is left out of
the mapping; the model fills it in.
"""

import math
import re
from collections.abc import Sequence

from rayraft.records import Passage

_WORD = re.compile(r"\w+")
_MIN_CONTENT_LETTERS = 4
"""Shorter words are mostly articles, prepositions and auxiliaries; numbers always count."""
_KINDS = {
    "asks_who": r"\b(who|whom|whose)\b",
    "asks_when": r"\b(when|what (year|date|day|time|month))\b",
    "asks_where": r"\b(where|which (city|country|place|state))\b",
    "asks_amount": r"\bhow (many|much|long|often|far|old|big|large|high|fast)\b",
    "asks_why_or_how": r"\b(why|how)\b",
    "asks_yes_no": r"^(is|are|was|were|do|does|did|can|could|may|must|has|have|had|will|should)\b",
    "compares": r"\b(both|either|same|older|younger|first|more|between|than)\b",
    "asks_now": r"\b(now|current|currently|today|latest|still|since)\b",
}
_KIND_PATTERNS = {name: re.compile(pattern) for name, pattern in _KINDS.items()}

Features = dict[str, float]

QUESTION_FEATURES = ("question_words", "question_names", "question_numbers", *_KINDS)
RETRIEVAL_FEATURES = (
    "passages",
    "top_score",
    "score_gap",
    "score_entropy",
    "top_cosine",
    "cosine_gap",
    "mean_cosine",
    "top_bm25",
    "bm25_gap",
    "searches_agree",
    "same_best",
    "words_in_top",
    "words_in_best",
    "documents",
    "newer_share",
    "versions_behind",
)
DRAFT_FEATURES = ("draft_logprob", "draft_abstains", "draft_words", "draft_in_passages")
FEATURES = (*QUESTION_FEATURES, *RETRIEVAL_FEATURES, *DRAFT_FEATURES)
"""All names, in a fixed order."""


def question_features(question: str) -> Features:
    """Length and type of the question, by its words."""
    words = _WORD.findall(question)
    lower = question.lower()
    features = {
        "question_words": math.log1p(len(words)),
        "question_names": float(sum(word[0].isupper() for word in words[1:])),
        "question_numbers": float(sum(word.isdigit() for word in words)),
    }
    features |= {name: float(bool(p.search(lower))) for name, p in _KIND_PATTERNS.items()}
    return features


def retrieval_features(
    question: str, passages: Sequence[Passage], kb_version: int, adapter_version: int | None
) -> Features:
    """How sure retrieval is, and how much of what it found is newer than the adapter.

    Args:
        question: What was asked.
        passages: Best first.
        kb_version: Version that was searched.
        adapter_version: Version that the adapter was trained from, None if there is none.
    """
    features = {"passages": float(len(passages))}
    if not passages:
        return features
    features |= _of_scores(passages)
    shares = [word_share(question, passage) for passage in passages]
    features["words_in_top"] = shares[0]
    features["words_in_best"] = max(shares)
    features["documents"] = len({p.document_id for p in passages}) / len(passages)
    if adapter_version is not None:
        newer = sum((p.updated_in or 0) > adapter_version for p in passages)
        features["newer_share"] = newer / len(passages)
        features["versions_behind"] = math.log1p(max(0, kb_version - adapter_version))
    return features


def draft_features(
    text: str, abstained: bool, mean_logprob: float | None, passages: Sequence[Passage]
) -> Features:
    """How sure the model is of its closed-book draft, and whether the passages say the same.

    `mean_logprob` is that of the whole output's tokens, nats.
    """
    words = [] if abstained else _WORD.findall(text.lower())
    features = {"draft_abstains": float(abstained), "draft_words": math.log1p(len(words))}
    if mean_logprob is not None:
        features["draft_logprob"] = mean_logprob
    if words:
        phrase = " ".join(words)
        held = any(phrase in " ".join(_WORD.findall(p.text.lower())) for p in passages)
        features["draft_in_passages"] = float(held)
    return features


def word_share(question: str, passage: Passage) -> float:
    """Share of the question's content words that the passage or its title holds."""
    asked = {
        word
        for word in _WORD.findall(question.lower())
        if len(word) >= _MIN_CONTENT_LETTERS or word.isdigit()
    }
    if not asked:
        return 0.0
    held = set(_WORD.findall(f"{passage.title} {passage.text}".lower()))
    return len(asked & held) / len(asked)


def _of_scores(passages: Sequence[Passage]) -> Features:
    dense = [p.dense_score for p in passages if p.dense_score is not None]
    sparse = [p.sparse_score for p in passages if p.sparse_score is not None]
    scores = [p.score for p in passages]
    both = sum(p.dense_score is not None and p.sparse_score is not None for p in passages)
    features = {
        "top_score": scores[0],
        "score_gap": scores[0] - (scores[1] if len(scores) > 1 else 0.0),
        "score_entropy": _entropy(scores),
        "searches_agree": both / len(passages),
        "same_best": float(bool(dense and sparse) and _first_in_both(passages)),
    }
    if dense:
        best = sorted(dense, reverse=True)
        features["top_cosine"] = best[0]
        features["cosine_gap"] = best[0] - (best[1] if len(best) > 1 else 0.0)
        features["mean_cosine"] = sum(dense) / len(dense)
    if sparse:
        best = sorted(sparse, reverse=True)
        features["top_bm25"] = math.log1p(max(0.0, best[0]))
        features["bm25_gap"] = math.log1p(max(0.0, best[0] - (best[1] if len(best) > 1 else 0.0)))
    return features


def _first_in_both(passages: Sequence[Passage]) -> bool:
    """Whether both searches put the same passage first."""
    by_dense = max(passages, key=lambda p: -2.0 if p.dense_score is None else p.dense_score)
    by_sparse = max(passages, key=lambda p: -1.0 if p.sparse_score is None else p.sparse_score)
    return by_dense.chunk_id == by_sparse.chunk_id


def _entropy(scores: Sequence[float]) -> float:
    """Of the scores' shares above the lowest one, 0 to 1; 1 where all are alike."""
    low = min(scores)
    above = [score - low for score in scores]
    total = sum(above)
    if len(scores) < 2 or total <= 0:
        return 1.0
    shares = [value / total for value in above if value > 0]
    return -sum(share * math.log(share) for share in shares) / math.log(len(scores))
