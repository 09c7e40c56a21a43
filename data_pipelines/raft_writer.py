"""RAFT examples for a batch of chunks, in one process. Knows no Ray.

It is given a teacher and a search, and holds what they share.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from data_pipelines.raft_examples import (
    RaftConfig,
    assemble_example,
    example_fault,
    shown_passage,
)
from data_pipelines.teachers import Teacher, TeacherRequest, WrittenQuestion
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


class RaftWriter:
    """Writes, assembles and verifies the examples of chunks.

    Every outcome depends on its own chunk, the knowledge base version and the configuration alone.
    """

    def __init__(
        self,
        teacher: Teacher,
        search: Search,
        visible_ids: Sequence[str],
        config: RaftConfig,
    ) -> None:
        self._teacher = teacher
        self._search = search
        self._visible_ids = visible_ids
        self._config = config

    def write(self, chunk_ids: Sequence[str]) -> list[ChunkOutcome]:
        """One outcome a chunk, in order."""
        chunks = self._read(chunk_ids)
        requests = [
            TeacherRequest(
                chunk_id=chunk_id,
                title=chunks[chunk_id].title,
                text=chunks[chunk_id].text,
                count=self._config.questions_per_chunk,
                seed=self._config.seed,
            )
            for chunk_id in chunk_ids
        ]
        results = self._teacher.write(requests)
        drawn = {
            (request.chunk_id, written.question): self._draw(request.chunk_id, written)
            for request, result in zip(requests, results, strict=True)
            for written in result.written
        }
        others = self._read(sorted({i for ids in drawn.values() for i in ids}))
        outcomes = []
        for chunk_id, result in zip(chunk_ids, results, strict=True):
            outcome = ChunkOutcome(chunk_id, dropped=Counter(result.dropped))
            # One search a chunk: embeddings of a batch may depend on what else is in it.
            questions = [written.question for written in result.written]
            for written, hard in zip(result.written, self._hard(questions), strict=True):
                picked = [shown_passage(others[i]) for i in drawn[chunk_id, written.question]]
                example = assemble_example(chunks[chunk_id], written, hard, picked, self._config)
                if fault := example_fault(example):
                    outcome.dropped[fault] += 1
                else:
                    outcome.examples.append(example)
            outcomes.append(outcome)
        return outcomes

    def _read(self, chunk_ids: Sequence[str]) -> dict[str, Passage]:
        return {chunk.chunk_id: chunk for chunk in self._search.read(chunk_ids)}

    def _hard(self, questions: Sequence[str]) -> list[list[Passage]]:
        if not questions:
            return []
        wanted = 4 * (self._config.distractors + 1) + 4
        return self._search.search(questions, wanted, groups=self._config.groups)

    def _draw(self, chunk_id: str, written: WrittenQuestion) -> list[str]:
        rng = random.Random(digest(["others", self._config.seed, chunk_id, written.question]))
        # More than are shown: some will hold the answer, or be the golden chunk itself.
        wanted = min(2 * (self._config.distractors + 1) + 4, len(self._visible_ids))
        return rng.sample(self._visible_ids, wanted)
