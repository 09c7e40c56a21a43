"""One question in one mode, in process: the answering logic over a retriever and a model.

Knows no Ray. A question is answered alone, so that its latency is that of one client.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from data_pipelines.in_process import Searcher, retrieve_from
from rayraft.answering import AnswerSettings, answer
from rayraft.arms import Arm, parse_arm
from rayraft.metrics import ndcg_at_k, recall_at_k, score_answer
from rayraft.protocols import (
    AdapterRef,
    AskRequest,
    GeneratedPiece,
    GenerateRequest,
    Retrieve,
    Retrieved,
)
from rayraft.records import Answer, Question, digest
from rayraft.route_features import question_features, retrieval_features
from rayraft.writing import Writer, write
from train.eval_rows import EvalRow
from train.evaluate_config import GOLDEN, SEARCH

RANKED = 10
"""Passages of mode search, whose order is scored."""


@dataclass(frozen=True)
class AskSettings:
    """What is the same for every question."""

    k: int = 4
    max_new_tokens: int = 96
    golden_distractors: int = 0
    """Hard distractors among the golden passages of mode `golden`."""
    seed: int = 0
    adapter: AdapterRef | None = None
    """For `raft` and `auto`."""
    closed_book_adapter: AdapterRef | None = None
    """For `closed_book` and that side of `blend`."""
    answering: AnswerSettings | None = None


class Answerer:
    """Answers evaluation questions and scores the answers."""

    def __init__(self, retriever: Searcher, model: Writer, settings: AskSettings) -> None:
        self._retriever = retriever
        self._model = model
        self._settings = settings

    def row(self, question: Question, mode: str) -> EvalRow:
        """The scored answer to one question."""
        if mode == SEARCH:
            return self._searched(question)
        arm = parse_arm(mode)
        found: list[Retrieved] = []
        given = asyncio.run(self._answer(question, arm, found))
        score = score_answer(given.text, given.abstained, question.answers)
        # Of what was shown: passages that the router or the prompt's length left out help nobody.
        searched = arm.mode != GOLDEN and given.mode != "closed_book"
        documents = [passage.document_id for passage in given.passages]
        return EvalRow(
            mode=mode,
            question_id=question.id,
            kind=question.kind,
            question=question.question,
            answers=question.answers,
            gold_ids=question.gold_ids,
            prediction="" if given.abstained else given.text,
            raw=given.raw,
            abstained=given.abstained,
            exact_match=score.exact_match,
            token_f1=score.token_f1,
            recall_at_k=recall_at_k(documents, question.gold_ids) if searched else None,
            answered_by=given.mode,
            route=given.route,
            adapter=given.adapter,
            kb_version=given.kb_version,
            passage_ids=[passage.chunk_id for passage in given.passages],
            citations=len(given.citations),
            supported=given.supported,
            prompt_tokens=given.usage.prompt_tokens,
            completion_tokens=given.usage.completion_tokens,
            mean_logprob=given.mean_logprob,
            features=self._features(question, found) if arm.mode != GOLDEN else "",
            retrieve_ms=given.timings_ms.get("retrieve", 0.0),
            generate_ms=given.timings_ms.get("generate", 0.0),
            latency_ms=given.timings_ms["total"],
        )

    def _searched(self, question: Question) -> EvalRow:
        """What is found for a question, scored without an answer."""
        began = time.perf_counter()
        (found,) = self._retriever.search(
            [question.question], max(self._settings.k, RANKED), groups=tuple(question.groups)
        )
        milliseconds = (time.perf_counter() - began) * 1000
        documents = [passage.document_id for passage in found]
        shown = documents[: self._settings.k]
        return EvalRow(
            mode=SEARCH,
            question_id=question.id,
            kind=question.kind,
            question=question.question,
            answers=question.answers,
            gold_ids=question.gold_ids,
            recall_at_k=recall_at_k(shown, question.gold_ids),
            ndcg_at_10=ndcg_at_k(documents, question.gold_ids, RANKED),
            answered_by=SEARCH,
            kb_version=self._retriever.version,
            passage_ids=[passage.chunk_id for passage in found],
            retrieve_ms=milliseconds,
            latency_ms=milliseconds,
        )

    def _features(self, question: Question, found: Sequence[Retrieved]) -> str:
        """What the router would see, of all that was retrieved; empty where nothing was."""
        if not found:
            return ""
        adapter = self._settings.adapter
        passages, version = found[0].passages, found[0].kb_version
        asked = question.question
        features = question_features(asked) | retrieval_features(
            asked, passages, version, adapter.kb_version if adapter else None
        )
        return json.dumps(features)

    async def _answer(self, asked: Question, arm: Arm, found: list[Retrieved]) -> Answer:
        settings, mode = self._settings, arm.mode
        request = AskRequest(
            question=asked.question,
            mode="rag" if mode == GOLDEN else mode,
            adapter=self._closed_book_adapter() if mode in ("closed_book", "blend") else None,
            k=arm.k or settings.k,
            groups=tuple(asked.groups),
            max_new_tokens=settings.max_new_tokens,
            retrieval_weight=arm.w,
        )
        search = self._golden(asked) if mode == GOLDEN else retrieve_from(self._retriever)

        async def retrieve(
            question: str,
            k: int,
            where: dict[str, Any] | None,
            groups: Sequence[str],
            min_kb_version: int | None,
        ) -> Retrieved:
            # As the router does: features are of all k passages, of which an arm may show fewer.
            every = await search(question, max(k, settings.k), where, groups, min_kb_version)
            found.append(every)
            return every if mode == GOLDEN else Retrieved(every.passages[:k], every.kb_version)

        default = None if mode == "blend" else settings.adapter
        answering = settings.answering
        return await answer(request, retrieve, self._generate, default, answering)

    def _closed_book_adapter(self) -> str | None:
        adapter = self._settings.closed_book_adapter
        return adapter.adapter_id if adapter else None

    def _golden(self, asked: Question) -> Retrieve:
        async def retrieve(
            question: str,
            k: int,
            where: dict[str, Any] | None,
            groups: Sequence[str],
            min_kb_version: int | None,
        ) -> Retrieved:
            gold = asked.gold_ids
            n_others = self._settings.golden_distractors if gold else k
            # The golden documents are searched alone, so that a weak retriever does not hide what
            # the reader can do.
            own = {"document_id": list(gold)}
            search = self._retriever.search
            passages = search([question], k, where=own, groups=groups)[0] if gold else []
            hits = search([question], n_others + 8 * k, groups=groups)[0] if n_others else []
            shown = passages + [p for p in hits if p.document_id not in gold][:n_others]
            random.Random(digest([self._settings.seed, asked.id])).shuffle(shown)
            return Retrieved(shown, self._retriever.version)

        return retrieve

    async def _generate(self, request: GenerateRequest) -> AsyncIterator[GeneratedPiece]:
        output = write(self._model, request)
        yield GeneratedPiece(
            output.text,
            output.prompt_tokens,
            output.completion_tokens,
            getattr(output, "mean_logprob", None),
        )
