"""RAFT example generation on Ray Data: chunk ids flow, actors write, one artifact is published."""

import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import ray
import ray.data

from data_pipelines.artifacts import ArtifactRef
from data_pipelines.given_questions import PlacedQuestions
from data_pipelines.progress import Advance, no_progress
from data_pipelines.question_duplicates import near_duplicates
from data_pipelines.raft_actor import RaftActor, RaftJob, guard_digest
from data_pipelines.raft_examples import RaftConfig, with_split
from data_pipelines.raft_plan import NothingToLearn, RaftPlan, Scope, even_parts, plan_run
from data_pipelines.raft_publishing import example_counts, publish_run
from data_pipelines.raft_staging import Staging
from data_pipelines.raft_teachers import (
    Prepared,
    identify,
    prepare,
    reply_staging,
    start_allowance,
)
from data_pipelines.ray_tables import from_tables
from data_pipelines.resources import count_actors
from data_pipelines.runs import new_run
from data_pipelines.stores import store_uri
from data_pipelines.teachers import ASK_AGAIN, BUDGET_SPENT
from rayraft.errors import InputError
from rayraft.prompts import prompt_digest
from rayraft.records import RaftExample, digest

__all__ = ["BudgetSpent", "NothingToLearn", "RaftRun", "Scope", "build_raft_examples"]

_ASKED = pa.schema([("chunk_id", pa.string()), ("handed", pa.binary())])


class BudgetSpent(InputError):
    """The teacher's tokens are spent before the last chunk; the same command goes on."""


@dataclass(frozen=True)
class RaftRun:
    """A published run of RAFT examples."""

    run: str
    uri: str
    kb_version: int
    teacher: str
    chunks: int
    restricted_chunks: int
    """Left out because of their `acl`."""
    train: int
    validation: int
    with_golden: int
    unanswerable: int
    """Examples whose question has no answer in any document, whatever is shown."""
    multi_golden: int
    """Examples whose answer needs several documents."""
    short_of_distractors: int
    """Examples with fewer passages than configured: nothing else could stand beside the golden."""
    refused_distractors: int
    """Passages that the guard took for answers."""
    prompt_tokens: int
    completion_tokens: int
    """Of the teacher, as far as its endpoint told them."""
    dropped: dict[str, int]
    """Reasons and counts of everything that was not used."""
    seconds: float
    samples: list[RaftExample]


def build_raft_examples(
    store: str,
    config: RaftConfig,
    run: str | None = None,
    progress: Advance = no_progress,
    scope: Scope | None = None,
) -> RaftRun:
    """Writes examples for the latest knowledge base version; publishes `<store>/raft/<run>/`.

    The same configuration, version and questions give the same Parquet bytes, whatever the number
    of actors. A run that was killed goes on where it stopped, if nothing that decides its rows is
    another.

    Raises:
        NotFoundError: The store has no knowledge base, or the teacher's model does not exist.
        NothingToLearn: There is no chunk that may be learned, or no example is left.
        InputError: `run` is taken.
        BudgetSpent: `teacher.limits.token_budget` did not suffice; what was written is kept.
        ConfigError: The teacher is vLLM, and it is not installed.
    """
    began = time.perf_counter()
    scope = scope or Scope()
    plan = plan_run(store, config, scope)
    name = new_run(store, "raft", run, plan.kb.version)
    teacher = identify(config.teacher, scope.questions)
    replies = reply_staging(store_uri(store), teacher)
    prepared = prepare(plan, teacher, config, replies)
    job = RaftJob(store_uri(store), plan.kb.version, config, teacher)
    rows, staging = _outcomes(job, plan, prepared, progress)
    split, dropped = _examples(rows, plan.placed, config)
    if not split:
        counts = ", ".join(f"{reason} {count}" for reason, count in sorted(dropped.items()))
        raise NothingToLearn(f"{store}: no example is left of {len(plan.chosen)} chunks ({counts})")
    made = RaftRun(
        run=name,
        uri=ArtifactRef(store, "raft", name).uri,
        kb_version=plan.kb.version,
        teacher=teacher.name,
        chunks=len(plan.chosen),
        restricted_chunks=plan.restricted,
        **example_counts(split, config),
        refused_distractors=sum(row["refused_distractors"] for row in rows),
        prompt_tokens=sum(row["prompt_tokens"] for row in rows),
        completion_tokens=sum(row["completion_tokens"] for row in rows),
        dropped=dict(sorted(dropped.items())),
        seconds=round(time.perf_counter() - began, 1),
        samples=split[:3],
    )
    made_from = [f"kb@{made.kb_version}", f"teacher/{teacher.name}@{teacher.digest}"]
    made_from += [f"guard@{made_by}"] if (made_by := guard_digest(config.guard)) else []
    publish_run(store, asdict(made), split, config, made_from)
    staging.clear()
    replies.clear()
    return made


def _examples(
    rows: Sequence[Mapping[str, Any]], placed: PlacedQuestions | None, config: RaftConfig
) -> tuple[list[RaftExample], Counter[str]]:
    """The examples of all chunks with their splits, and why others are missing."""
    # All examples pass through this process, about 3 KB each.
    examples = [RaftExample.model_validate_json(text) for row in rows for text in row["examples"]]
    dropped: Counter[str] = sum((Counter(json.loads(row["dropped"])) for row in rows), Counter())
    split = with_split(examples, config)
    dropped += Counter({"golden_in_both_splits": len(examples) - len(split)})
    if placed is not None:
        return split, dropped + placed.dropped
    doubled = near_duplicates([e.question for e in split], config.filters.near_duplicate)
    if doubled:
        dropped["near_duplicate_question"] += len(doubled)
    return [example for i, example in enumerate(split) if i not in doubled], dropped


def _outcomes(
    job: RaftJob, plan: RaftPlan, prepared: Prepared, progress: Advance
) -> tuple[list[dict[str, Any]], Staging]:
    """A row a chunk, those of a run before that was killed among them."""
    config, chosen = job.config, plan.chosen
    deciding = config.model_dump(exclude={"workers", "max_chunks", "filters", "teacher"})
    deciding |= {"teacher": config.teacher.deciding()}
    within = config.filters.golden_within
    made_by = [job.teacher.digest, guard_digest(config.guard), prompt_digest()]
    key = digest([deciding, within, job.version, made_by, plan.visible])
    staging = Staging(job.store, key[:32])
    known = staging.rows()
    rows = [known[chunk_id] for chunk_id in chosen if chunk_id in known]
    missing = [chunk_id for chunk_id in chosen if chunk_id not in known]
    unpaid = 0
    try:
        for row in _run(job, missing, prepared):
            dropped = json.loads(row["dropped"])
            if ASK_AGAIN.isdisjoint(dropped):
                staging.add(row)
            unpaid += BUDGET_SPENT in dropped
            rows.append(row)
            progress(len(rows) - unpaid, len(chosen))
    finally:
        staging.flush()
    if unpaid:
        raise BudgetSpent(
            f"teacher.limits.token_budget={config.teacher.limits.token_budget}: spent; "
            f"{len(chosen) - unpaid} of {len(chosen)} chunks are written and kept, and the same "
            "command goes on from there"
        )
    return rows, staging


def _run(job: RaftJob, chunk_ids: list[str], prepared: Prepared) -> Iterator[dict[str, Any]]:
    if not chunk_ids:
        return
    workers = job.config.workers
    batch, at_once = job.config.batch_chunks, job.config.teacher.batches_at_once
    batches = math.ceil(len(chunk_ids) / batch)
    wanted = count_actors(
        workers.actors,
        f"workers.cpus_per_actor={workers.cpus_per_actor:g}, "
        f"workers.gpus_per_actor={workers.gpus_per_actor:g}",
        cpus=workers.cpus_per_actor,
        gpus=workers.gpus_per_actor,
    )
    actors = min(wanted, math.ceil(batches / at_once))
    parts = even_parts(chunk_ids, batch, actors * at_once)
    blocks = [
        pa.table({"chunk_id": part, "handed": prepared.handed_with(part)}, schema=_ASKED)
        for part in parts
    ]
    dataset = from_tables(blocks).map_batches(
        RaftActor,
        fn_constructor_args=(
            job,
            prepared.needs_teacher,
            start_allowance(job.config.teacher),
        ),
        # Blocks that do not fill a batch would be joined, and the last actor be left alone.
        batch_size=min(batch, len(parts[0])),
        compute=ray.data.ActorPoolStrategy(
            size=actors,
            enable_true_multi_threading=at_once > 1,
            max_concurrent_calls_per_actor=at_once,
            # No batch waits at one actor while another has nothing to do.
            max_tasks_in_flight_per_actor=at_once if at_once > 1 else None,
        ),
        num_cpus=workers.cpus_per_actor,
        num_gpus=workers.gpus_per_actor or None,
    )
    yield from dataset.iter_rows()
