"""The actor that writes RAFT examples: it loads what a writer needs and turns batches into rows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from data_pipelines.false_negatives import FalseNegativeGuard
from data_pipelines.kb import KnowledgeBase
from data_pipelines.open_retriever import open_retriever
from data_pipelines.raft_examples import GuardConfig, RaftConfig
from data_pipelines.raft_teachers import SharedAllowance, open_teacher
from data_pipelines.raft_writer import ChunkOutcome, RaftWriter
from data_pipelines.teachers import TeacherIdentity
from rayraft.errors import ArtifactMismatch


@dataclass(frozen=True)
class RaftJob:
    """What every actor is told."""

    store: str
    version: int
    config: RaftConfig
    teacher: TeacherIdentity


class RaftActor:
    """One worker: retriever, teacher and writer, loaded once.

    Args:
        job: The same for all.
        visible: A reference to the ids of all chunks that may be shown.
        prepared: A reference to what the actors teach with.
        allowance: What an endpoint may be asked, by all of them; None: without limits.
    """

    def __init__(
        self,
        job: RaftJob,
        visible: list[Any],
        prepared: list[Any],
        allowance: SharedAllowance | None,
    ) -> None:
        kb = KnowledgeBase.open(job.store, job.version)
        # One thread whatever the actor's CPUs: sums in another order are other questions.
        retriever = open_retriever(kb, threads=1)
        teacher = open_teacher(job.config.teacher, ray.get(prepared[0]), allowance)
        if teacher.digest != job.teacher.digest:
            raise ArtifactMismatch(
                f"teacher {teacher.name}: this machine has another version of it"
            )
        guard = open_guard(job.config.guard)
        self._writer = RaftWriter(teacher, retriever, ray.get(visible[0]), job.config, guard)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Batch function: column `chunk_id` to the columns of `outcome_columns`."""
        return outcome_columns(self._writer.write([str(i) for i in batch["chunk_id"]]))


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
    from rayraft.models.base import base_digest

    return base_digest(config.reranker)
