"""The actor that writes RAFT examples: it loads what a writer needs and turns batches into rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_pipelines.false_negatives import FalseNegativeGuard
from data_pipelines.kb import KnowledgeBase
from data_pipelines.open_retriever import open_retriever
from data_pipelines.raft_examples import GuardConfig, RaftConfig
from data_pipelines.raft_plan import visible_chunk_ids
from data_pipelines.raft_teachers import (
    SharedAllowance,
    handed_out,
    load_teacher,
    reply_staging,
)
from data_pipelines.raft_writer import ChunkOutcome, RaftWriter
from data_pipelines.teachers import Teacher, TeacherIdentity
from rayraft.errors import ArtifactMismatch


@dataclass(frozen=True)
class RaftJob:
    """What every actor is told."""

    store: str
    version: int
    config: RaftConfig
    teacher: TeacherIdentity


class RaftActor:
    """One worker: retriever, teacher and writer, loaded once. Batches may come in several threads.

    Args:
        job: The same for all; small, so that a lost actor can be started again from it alone.
        needs_teacher: As `Prepared` says.
        allowance: What an endpoint may be asked, by all of them; None: without limits.
    """

    def __init__(
        self, job: RaftJob, needs_teacher: bool, allowance: SharedAllowance | None
    ) -> None:
        kb = KnowledgeBase.open(job.store, job.version)
        self._identity = job.teacher
        self._teacher: Teacher | None = None
        if needs_teacher:
            staging = reply_staging(job.store, job.teacher)
            self._teacher = load_teacher(job.config.teacher, staging, allowance)
        visible, _ = visible_chunk_ids(kb, job.config)
        # One thread whatever the actor's CPUs: sums in another order are other questions.
        retriever = open_retriever(kb, threads=1)
        guard = open_guard(job.config.guard)
        self._writer = RaftWriter(retriever, visible, job.config, guard)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Batch function: columns `chunk_id` and `handed` to the columns of `outcome_columns`."""
        chunk_ids = [str(chunk_id) for chunk_id in batch["chunk_id"]]
        handed = dict(zip(chunk_ids, batch["handed"], strict=True))
        return outcome_columns(self._writer.write(chunk_ids, self._teacher_of(handed)))

    def _teacher_of(self, handed: Mapping[str, bytes | None]) -> Teacher:
        given = {chunk_id: result for chunk_id, result in handed.items() if result is not None}
        if given:
            return handed_out(self._identity, given, self._teacher)
        assert self._teacher is not None  # nothing is handed out: it writes
        if self._teacher.digest != self._identity.digest:
            raise ArtifactMismatch(
                f"teacher {self._teacher.name}: this machine has another version of it"
            )
        return self._teacher


def outcome_columns(outcomes: Sequence[ChunkOutcome]) -> dict[str, list[Any]]:
    """Outcomes as columns; examples and counts travel as JSON, whose schema never varies."""
    return {
        "chunk_id": [outcome.chunk_id for outcome in outcomes],
        "examples": [[e.model_dump_json() for e in outcome.examples] for outcome in outcomes],
        "dropped": [json.dumps(outcome.dropped) for outcome in outcomes],
        "refused_distractors": [outcome.refused_distractors for outcome in outcomes],
        "prompt_tokens": [outcome.prompt_tokens for outcome in outcomes],
        "completion_tokens": [outcome.completion_tokens for outcome in outcomes],
    }


def open_guard(config: GuardConfig) -> FalseNegativeGuard | None:
    """The configured guard, with its model.

    Raises:
        NotFoundError: There is no such reranker.
    """
    if config.reranker is None:
        return None
    from rayraft.models.reranker import Reranker

    return FalseNegativeGuard(Reranker.load(config.reranker, threads=1), config.margin)


def guard_digest(config: GuardConfig) -> str | None:
    """Changes with the guard's model; None without a guard.

    Raises:
        NotFoundError: There is no such reranker.
    """
    if config.reranker is None:
        return None
    from rayraft.models.base_files import base_digest

    return base_digest(config.reranker)
