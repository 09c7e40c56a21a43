"""An evaluation as a router learns from it: question x arm -> quality, tokens, time."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rayraft.arms import parse_arm
from rayraft.errors import InputError
from rayraft.records import Passage
from rayraft.route_features import Features, draft_features
from train.eval_rows import EvalRow
from train.evaluate_config import GOLDEN, SEARCH
from train.router_config import RouterTrainConfig

Floats = npt.NDArray[np.float64]
CLOSED_BOOK = "closed_book"
_NO_ARMS = ("auto", GOLDEN, SEARCH)


@dataclass(frozen=True)
class Outcomes:
    """Rows are questions, columns arms."""

    question_ids: list[str]
    arms: list[str]
    adapters: list[str | None]
    """Of each arm."""
    features: list[Features]
    """Of each question, without a draft."""
    drafts: list[Features] | None
    """What a draft adds to them; None if the evaluation has no closed-book mode."""
    quality: Floats
    """[n, arms], 0 to 1."""
    tokens: Floats
    """[n, arms], read and written."""
    generate_ms: Floats
    """[n, arms]"""
    retrieve_ms: Floats
    """[n]"""
    adapter: str | None
    """That of the arms that read passages."""
    kb_version: int
    k: int

    @property
    def closed_book(self) -> int | None:
        """Column of the closed-book arm."""
        return self.arms.index(CLOSED_BOOK) if CLOSED_BOOK in self.arms else None

    def spent(self, draft: bool) -> Floats:
        """Tokens [n, arms] of each choice; a draft is paid by all arms but the one it is."""
        place = self.closed_book
        if not draft or place is None:
            return self.tokens
        with_draft = self.tokens + self.tokens[:, [place]]
        with_draft[:, place] = self.tokens[:, place]
        return with_draft

    def latency_ms(self, draft: bool) -> Floats:
        """Time [n, arms] of each choice: retrieval beside the draft, then the output."""
        place = self.closed_book
        total = self.retrieve_ms[:, None] + self.generate_ms
        if not draft or place is None:
            return total
        drafted = self.generate_ms[:, [place]]
        total = np.maximum(self.retrieve_ms[:, None], drafted) + self.generate_ms
        total[:, place] = np.maximum(self.retrieve_ms, drafted[:, 0])
        return total


TextsOf = Callable[[Sequence[str]], Mapping[str, str]]
"""Chunk ids to their texts."""


def read_outcomes(
    rows: Sequence[EvalRow], config: RouterTrainConfig, k: int, texts_of: TextsOf
) -> Outcomes:
    """The outcomes in an evaluation's rows.

    Raises:
        InputError: Too few questions or modes, or rows of a version without features.
    """
    by_mode: dict[str, dict[str, EvalRow]] = {}
    for row in rows:
        if parse_arm(row.mode).mode not in _NO_ARMS:
            by_mode.setdefault(row.mode, {})[row.question_id] = row
    if len(by_mode) < 2:
        known = ", ".join(by_mode) or "none"
        raise InputError(f"a router needs at least two modes to choose among; evaluated: {known}")
    ids = sorted(set.intersection(*(set(of_mode) for of_mode in by_mode.values())))
    if len(ids) < config.min_questions:
        raise InputError(
            f"{len(ids)} questions were answered in every mode: a router needs at least "
            f"min_questions={config.min_questions}"
        )
    reading = _reading(by_mode, k)
    arms = list(by_mode)
    table = [[by_mode[arm][i] for arm in arms] for i in ids]
    found = [reading[i] for i in ids]
    return Outcomes(
        question_ids=ids,
        arms=arms,
        adapters=[table[0][a].adapter for a in range(len(arms))],
        features=[json.loads(row.features) for row in found],
        drafts=_drafts([by_mode[CLOSED_BOOK][i] for i in ids], found, texts_of)
        if CLOSED_BOOK in arms
        else None,
        quality=np.array([[getattr(r, config.quality) or 0.0 for r in line] for line in table]),
        tokens=np.array(
            [[r.prompt_tokens + r.completion_tokens for r in line] for line in table], float
        ),
        generate_ms=np.array([[row.generate_ms for row in line] for line in table]),
        retrieve_ms=np.array([row.retrieve_ms for row in found]),
        adapter=next(
            (by_mode[a][ids[0]].adapter for a in arms if parse_arm(a).mode == "raft"), None
        ),
        kb_version=next(row.kb_version for row in found if row.kb_version is not None),
        k=k,
    )


def _reading(by_mode: Mapping[str, Mapping[str, EvalRow]], k: int) -> Mapping[str, EvalRow]:
    """The rows of a mode that showed all k passages."""
    for mode, of_mode in by_mode.items():
        arm = parse_arm(mode)
        full = arm.k is None or arm.k >= k
        if arm.mode != CLOSED_BOOK and full and all(row.features for row in of_mode.values()):
            return of_mode
    raise InputError(
        f"no evaluated mode retrieves all k={k} passages and tells the features of its questions; "
        "evaluate again with rag or raft among the modes"
    )


def _drafts(
    drafts: Sequence[EvalRow], found: Sequence[EvalRow], texts_of: TextsOf
) -> list[Features]:
    texts = texts_of(sorted({i for row in found for i in row.passage_ids}))
    features = []
    for draft, row in zip(drafts, found, strict=True):
        passages = [
            Passage(chunk_id=i, document_id="", text=texts[i])
            for i in row.passage_ids
            if i in texts
        ]
        features.append(
            draft_features(draft.prediction, draft.abstained, draft.mean_logprob, passages)
        )
    return features
