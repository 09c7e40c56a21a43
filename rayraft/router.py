"""The rule that chooses a mode for one question: retrieval's evidence against the adapter's age.

It knows scores and versions, nothing of models. The rule, in the order in which it is tried:

| case | mode | why |
|---|---|---|
| nothing was found | `closed_book` | there is nothing to read |
| no adapter | `rag` | only the base model is there |
| a passage was written after the adapter's version | `rag` | an old memory may contradict it |
| passages are noise, the adapter is fresh | `closed_book` | its memory is the better source |
| passages are noise, the adapter is old | `rag` | neither knows; reading can say so |
| otherwise | `raft` | it reads passages of this domain, and copes without the right one |

Passages are *noise* if the best cosine is below `noise_cosine`, and no passage holds half of the
question's content words. An adapter is *old* if it lags by more than `max_versions_behind`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from rayraft.config import Config
from rayraft.protocols import AdapterRef
from rayraft.records import Mode, Passage
from rayraft.route_features import word_share


class RouterConfig(Config):
    """Thresholds of the rule; cosines are those of the MiniLM embedder."""

    noise_cosine: float = Field(default=0.2, ge=-1, le=1)
    """Below it a passage is no better than chance."""
    lexical_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the question's content words that one passage must hold."""
    max_versions_behind: int = Field(default=50, ge=0)
    """Knowledge base versions by which an adapter may lag and still answer from memory."""


@dataclass(frozen=True)
class Features:
    """What the rule sees of one question."""

    n_passages: int
    top_cosine: float | None
    lexical_hit: bool
    has_adapter: bool
    newer_passages: int
    """Passages written after the version that the adapter was trained from."""
    versions_behind: int
    """By how many versions the adapter lags; 0 if its version is unknown."""


@dataclass(frozen=True)
class Route:
    """The chosen mode and the reason in words."""

    mode: Mode
    reason: str


def route_features(
    question: str,
    passages: Sequence[Passage],
    kb_version: int,
    adapter: AdapterRef | None,
    config: RouterConfig | None = None,
) -> Features:
    """The features of one question and what was retrieved for it at `kb_version`."""
    cosines = [p.dense_score for p in passages if p.dense_score is not None]
    share = (config or RouterConfig()).lexical_share
    trained = adapter.kb_version if adapter is not None else None
    trained = kb_version if trained is None else trained
    return Features(
        n_passages=len(passages),
        top_cosine=max(cosines, default=None),
        lexical_hit=any(word_share(question, p) >= share for p in passages),
        has_adapter=adapter is not None,
        newer_passages=sum((p.updated_in or 0) > trained for p in passages),
        versions_behind=max(0, kb_version - trained),
    )


def choose_route(features: Features, config: RouterConfig | None = None) -> Route:
    """The mode for one question, by the table in the module's docstring."""
    config = config or RouterConfig()
    if features.n_passages == 0:
        return Route("closed_book", "nothing was found in the knowledge base")
    top = -1.0 if features.top_cosine is None else features.top_cosine
    noise = top < config.noise_cosine and not features.lexical_hit
    seen = _describe(features, noise)
    if not features.has_adapter:
        return Route("rag", f"{seen}; no adapter is published")
    if features.newer_passages:
        newer = f"{features.newer_passages} of {features.n_passages} passages"
        return Route("rag", f"{seen}; {newer} are newer than the adapter")
    age = f"the adapter is {features.versions_behind} versions behind"
    if not noise:
        return Route("raft", f"{seen}; {age}, but no passage is newer")
    if features.versions_behind > config.max_versions_behind:
        return Route("rag", f"{seen}; {age}, {config.max_versions_behind} allowed")
    return Route("closed_book", f"{seen}; {age}")


def _describe(features: Features, noise: bool) -> str:
    top = "none" if features.top_cosine is None else f"{features.top_cosine:.2f}"
    words = "agree" if features.lexical_hit else "differ"
    return f"passages are {'noise' if noise else 'evidence'} (cosine {top}, words {words})"
