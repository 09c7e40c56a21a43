"""The rule that chooses a mode for one question: retrieval's evidence against the adapter's age.

It knows scores and versions, nothing of models. The rule, in the order in which it is tried:

| case | mode | why |
|---|---|---|
| nothing was found | `closed_book` | there is nothing to read |
| no adapter, or a stale one | `rag` | an old memory may contradict current passages |
| passages are noise, adapter is fresh | `closed_book` | its memory is the better source |
| otherwise | `raft` | it reads passages of this domain, and copes without the right one |

Evidence is *noise* if the best cosine is below `noise_cosine`, and no passage holds half of the
question's content words; it is *strong* if the best cosine reaches `strong_cosine`, or it leads
the runner-up by `clear_gap` and the words agree. Strong evidence halves the age that an adapter
may have, because then memory adds least and contradicts most.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from rayraft.config import Config
from rayraft.records import Mode, Passage

_WORD = re.compile(r"\w+")
_MIN_CONTENT_LETTERS = 4
"""Shorter words are mostly articles, prepositions and auxiliaries; numbers always count."""


class RouterConfig(Config):
    """Thresholds of the rule; cosines are those of the MiniLM embedder."""

    noise_cosine: float = Field(default=0.2, ge=-1, le=1)
    """Below it a passage is no better than chance."""
    strong_cosine: float = Field(default=0.65, ge=-1, le=1)
    """From it on a passage very likely speaks of the question's subject."""
    clear_gap: float = Field(default=0.1, ge=0, le=2)
    """Lead in cosine of the best passage over the next one that counts as clear."""
    lexical_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the question's content words that one passage must hold."""
    max_versions_behind: int = Field(default=50, ge=0)
    """Knowledge base versions by which an adapter may lag before its memory is distrusted."""


@dataclass(frozen=True)
class Features:
    """What the rule sees of one question."""

    n_passages: int
    top_cosine: float | None
    gap: float
    """Lead of the best cosine over the second, 0 with fewer than two."""
    lexical_hit: bool
    has_adapter: bool
    versions_behind: int | None
    """None if either version is unknown."""


@dataclass(frozen=True)
class Route:
    """The chosen mode and the reason in words."""

    mode: Mode
    reason: str


def route_features(
    question: str,
    passages: Sequence[Passage],
    *,
    has_adapter: bool,
    versions_behind: int | None = None,
    config: RouterConfig | None = None,
) -> Features:
    """The features of one question and what was retrieved for it."""
    cosines = sorted((p.dense_score for p in passages if p.dense_score is not None), reverse=True)
    share = (config or RouterConfig()).lexical_share
    return Features(
        n_passages=len(passages),
        top_cosine=cosines[0] if cosines else None,
        gap=cosines[0] - cosines[1] if len(cosines) > 1 else 0.0,
        lexical_hit=any(_word_share(question, p) >= share for p in passages),
        has_adapter=has_adapter,
        versions_behind=versions_behind,
    )


def choose_route(features: Features, config: RouterConfig | None = None) -> Route:
    """The mode for one question, by the table in the module's docstring."""
    config = config or RouterConfig()
    if features.n_passages == 0:
        return Route("closed_book", "nothing was found in the knowledge base")
    evidence = _evidence(features, config)
    allowed = config.max_versions_behind // (2 if evidence == "strong" else 1)
    behind = features.versions_behind or 0
    seen = f"evidence {evidence} ({_describe(features)})"
    if not features.has_adapter:
        return Route("rag", f"{seen}; no adapter is published")
    if behind > allowed:
        return Route("rag", f"{seen}; the adapter is {behind} versions behind, {allowed} allowed")
    if evidence == "noise":
        return Route("closed_book", f"{seen}; the adapter is {behind} versions behind")
    return Route("raft", f"{seen}; the adapter is {behind} versions behind")


def _evidence(features: Features, config: RouterConfig) -> str:
    top = features.top_cosine if features.top_cosine is not None else -1.0
    if top < config.noise_cosine and not features.lexical_hit:
        return "noise"
    if top >= config.strong_cosine or (features.gap >= config.clear_gap and features.lexical_hit):
        return "strong"
    return "fair"


def _describe(features: Features) -> str:
    top = "none" if features.top_cosine is None else f"{features.top_cosine:.2f}"
    words = "agree" if features.lexical_hit else "differ"
    return f"cosine {top}, lead {features.gap:.2f}, words {words}"


def _word_share(question: str, passage: Passage) -> float:
    asked = {
        word
        for word in _WORD.findall(question.lower())
        if len(word) >= _MIN_CONTENT_LETTERS or word.isdigit()
    }
    if not asked:
        return 0.0
    held = set(_WORD.findall(f"{passage.title} {passage.text}".lower()))
    return len(asked & held) / len(asked)
