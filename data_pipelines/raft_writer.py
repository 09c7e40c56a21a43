"""RAFT examples for a batch of chunks, in one process. Knows no Ray.

It is given a teacher and a search, and holds what they share.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from data_pipelines.false_negatives import FalseNegativeGuard
from data_pipelines.given_questions import NAME as GIVEN
from data_pipelines.raft_examples import (
    RaftConfig,
    assemble_example,
    example_fault,
    needed_passages,
    shown_passage,
)
from data_pipelines.raft_plan import teacher_request
from data_pipelines.teachers import Teacher, TeacherResult, WrittenQuestion
from rayraft.records import Passage, RaftExample, digest


class Search(Protocol):
    """The part of `HybridRetriever` that reads chunks and finds hard distractors."""

    def read(self, chunk_ids: Sequence[str]) -> list[Passage]:
        """The chunks with these ids, in their order."""
        ...

    def search(
        self, queries: Sequence[str], k: int, *, groups: Sequence[str]
    ) -> list[list[Passage]]:
        """Passages of each query, best first."""
        ...


@dataclass(frozen=True)
class ChunkOutcome:
    """What became of one chunk."""

    chunk_id: str
    examples: list[RaftExample] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    """Reasons and counts of attempts that made no example."""
    refused_distractors: int = 0
    """By the guard against false negatives."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Of the teacher, as far as it told them."""


class RaftWriter:
    """Writes, assembles and verifies the examples of chunks.

    Every outcome depends on its own chunk, the knowledge base version and the configuration alone.

    Args:
        search: Over the knowledge base.
        visible_ids: Of all chunks that may be shown.
        config: Numbers and shares.
        guard: Refuses distractors that may answer; None: all may stand.
    """

    def __init__(
        self,
        search: Search,
        visible_ids: Sequence[str],
        config: RaftConfig,
        guard: FalseNegativeGuard | None = None,
    ) -> None:
        self._search = search
        self._visible_ids = visible_ids
        self._config = config
        self._guard = guard

    def write(self, chunk_ids: Sequence[str], teacher: Teacher) -> list[ChunkOutcome]:
        """One outcome a chunk, in order; the teacher writes the questions."""
        chunks = self._read(chunk_ids)
        requests = [
            teacher_request(chunk_id, chunks[chunk_id].title, chunks[chunk_id].text, self._config)
            for chunk_id in chunk_ids
        ]
        results = teacher.write(requests)
        # People say which document answers; whether a search finds it too is not the question.
        given = teacher.name == GIVEN
        return [
            self._outcome(chunks[chunk_id], result, given)
            for chunk_id, result in zip(chunk_ids, results, strict=True)
        ]

    def _outcome(self, golden: Passage, result: TeacherResult, given: bool) -> ChunkOutcome:
        examples: list[RaftExample] = []
        dropped = Counter(result.dropped)
        refused = 0
        # One search a chunk: embeddings of a batch may depend on what else is in it.
        hits = self._hits([written.question for written in result.written])
        for written, hard in zip(result.written, hits, strict=True):
            if fault := self._question_fault(golden, written, hard, given):
                dropped[fault] += 1
                continue
            example, suspects = self._example(golden, written, hard)
            refused += suspects
            if fault := example_fault(example):
                dropped[fault] += 1
            else:
                examples.append(example)
        return ChunkOutcome(
            golden.chunk_id,
            examples,
            dropped,
            refused,
            result.prompt_tokens,
            result.completion_tokens,
        )

    def _example(
        self, golden: Passage, written: WrittenQuestion, hard: Sequence[Passage]
    ) -> tuple[RaftExample, int]:
        """The example, and how many distractors were refused on the way to it."""
        drawn = self._read(self._draw(golden.chunk_id, written))
        others = [shown_passage(passage) for passage in drawn.values()]
        refused: set[str] = set()
        while True:
            example = assemble_example(
                golden,
                written,
                [passage for passage in hard if passage.chunk_id not in refused],
                [passage for passage in others if passage.chunk_id not in refused],
                self._config,
            )
            suspects = self._suspects(golden, written, example)
            if not suspects:
                return example, len(refused)
            refused |= suspects

    def _suspects(
        self, golden: Passage, written: WrittenQuestion, example: RaftExample
    ) -> set[str]:
        if self._guard is None:
            return set()
        needed = needed_passages(golden, written)
        if not needed:
            return set()
        shown = [p for p in example.passages if p.chunk_id not in example.golden_ids]
        return self._guard.suspects(example.question, needed, shown)

    def _question_fault(
        self, golden: Passage, written: WrittenQuestion, hits: Sequence[Passage], given: bool
    ) -> str | None:
        if len(written.supports) > self._config.distractors:
            return "more_golden_than_passages"
        within = self._config.filters.golden_within
        if within is None or given:
            return None
        found = any(hit.document_id == golden.document_id for hit in hits[:within])
        return None if found else "subject_not_named"

    def _read(self, chunk_ids: Sequence[str]) -> dict[str, Passage]:
        return {chunk.chunk_id: chunk for chunk in self._search.read(chunk_ids)}

    def _hits(self, questions: Sequence[str]) -> list[list[Passage]]:
        if not questions:
            return []
        wanted = 4 * (self._config.distractors + 1) + 4
        wanted = max(wanted, self._config.filters.golden_within or 0)
        return self._search.search(questions, wanted, groups=self._config.groups)

    def _draw(self, chunk_id: str, written: WrittenQuestion) -> list[str]:
        rng = random.Random(digest(["others", self._config.seed, chunk_id, written.question]))
        # More than are shown: some will hold the answer, or be the golden chunk itself.
        wanted = min(2 * (self._config.distractors + 1) + 4, len(self._visible_ids))
        return rng.sample(self._visible_ids, wanted)
