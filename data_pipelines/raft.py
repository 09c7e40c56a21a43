"""RAFT example generation on Ray Data: chunk ids flow, actors write, one artifact is published."""

import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from data_pipelines.artifacts import ArtifactRef
from data_pipelines.filters import readable
from data_pipelines.given_questions import PlacedQuestions, given_identity, place_questions
from data_pipelines.kb import KnowledgeBase
from data_pipelines.progress import Advance, no_progress
from data_pipelines.question_duplicates import near_duplicates
from data_pipelines.raft_actor import RaftActor, RaftJob, guard_digest, teacher_identity
from data_pipelines.raft_examples import RaftConfig, with_split
from data_pipelines.raft_publishing import example_counts, publish_run
from data_pipelines.raft_staging import Staging
from data_pipelines.resources import count_actors
from data_pipelines.runs import new_run
from data_pipelines.stores import store_uri
from data_pipelines.teachers import TEACHER_ERROR
from rayraft.errors import InputError
from rayraft.prompts import prompt_digest
from rayraft.records import Question, RaftExample, digest


class NothingToLearn(InputError):
    """No chunk may be learned, or no example is left."""


@dataclass(frozen=True)
class Scope:
    """Which chunks examples are written for, and whose questions they show."""

    questions: Sequence[Question] | None = None
    """People's, in the teacher's place (see `given_questions`)."""
    since: int | None = None
    """Only for chunks that were added or changed after this knowledge base version."""


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
    short_of_distractors: int
    """Examples with fewer passages than configured: nothing else could stand beside the golden."""
    refused_distractors: int
    """Passages that the guard took for answers."""
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
    """
    began = time.perf_counter()
    scope = scope or Scope()
    kb = KnowledgeBase.open(store)
    name = new_run(store, "raft", run, kb.version)
    visible, restricted = visible_chunk_ids(kb, config)
    if not visible:
        raise NothingToLearn(f"{store}: no chunk to write examples for ({restricted} restricted)")
    placed = _placed(kb, scope.questions, set(visible), config)
    teacher = given_identity(scope.questions or ()) if placed else teacher_identity(config.teacher)
    chosen = choose_chunks(_in_scope(kb, visible, placed, scope), config)
    job = RaftJob(store_uri(store), kb.version, config, teacher)
    rows, staging = _outcomes(job, chosen, visible, placed, progress)
    split, dropped = _examples(rows, placed, config)
    if not split:
        counts = ", ".join(f"{reason} {count}" for reason, count in sorted(dropped.items()))
        raise NothingToLearn(f"{store}: no example is left of {len(chosen)} chunks ({counts})")
    made = RaftRun(
        run=name,
        uri=ArtifactRef(store, "raft", name).uri,
        kb_version=kb.version,
        teacher=teacher.name,
        chunks=len(chosen),
        restricted_chunks=restricted,
        **example_counts(split, config),
        refused_distractors=sum(row["refused_distractors"] for row in rows),
        dropped=dict(sorted(dropped.items())),
        seconds=round(time.perf_counter() - began, 1),
        samples=split[:3],
    )
    made_from = [f"kb@{made.kb_version}", f"teacher/{teacher.name}@{teacher.digest}"]
    made_from += [f"guard@{made_by}"] if (made_by := guard_digest(config.guard)) else []
    publish_run(store, asdict(made), split, config, made_from)
    staging.clear()
    return made


def _examples(
    rows: Sequence[Mapping[str, Any]], placed: PlacedQuestions | None, config: RaftConfig
) -> tuple[list[RaftExample], Counter[str]]:
    """The examples of all chunks with their splits, and why others are missing."""
    # All examples pass through this process, about 3 KB each.
    examples = [RaftExample.model_validate_json(text) for row in rows for text in row["examples"]]
    dropped: Counter[str] = sum((Counter(json.loads(row["dropped"])) for row in rows), Counter())
    split = with_split(examples, config)
    if placed is not None:
        return split, dropped + placed.dropped
    doubled = near_duplicates([e.question for e in split], config.filters.near_duplicate)
    if doubled:
        dropped["near_duplicate_question"] += len(doubled)
    return [example for i, example in enumerate(split) if i not in doubled], dropped


def _placed(
    kb: KnowledgeBase,
    questions: Sequence[Question] | None,
    visible: set[str],
    config: RaftConfig,
) -> PlacedQuestions | None:
    if questions is None:
        return None
    wanted = {document for question in questions for document in question.gold_ids}
    chunks = {
        document: [passage for passage in passages if passage.chunk_id in visible]
        for document, passages in kb.passages_by_document(wanted).items()
    }
    return place_questions(questions, chunks, config.teacher.max_quote_chars)


def _in_scope(
    kb: KnowledgeBase, visible: list[str], placed: PlacedQuestions | None, scope: Scope
) -> list[str]:
    chosen = visible if placed is None else sorted(placed.written)
    if scope.since is None:
        return chosen
    changed = set(kb.delta(scope.since).upserted["chunk_id"].to_pylist())
    return [chunk_id for chunk_id in chosen if chunk_id in changed]


def _outcomes(
    job: RaftJob,
    chunk_ids: list[str],
    visible: list[str],
    placed: PlacedQuestions | None,
    progress: Advance,
) -> tuple[list[dict[str, Any]], Staging]:
    """A row a chunk, those of a run before that was killed among them."""
    deciding = job.config.model_dump(exclude={"workers", "max_chunks", "filters"})
    within = job.config.filters.golden_within
    made_by = [job.teacher.digest, guard_digest(job.config.guard), prompt_digest()]
    staging = Staging(job.store, digest([deciding, within, job.version, made_by, visible])[:32])
    known = staging.rows()
    rows = [known[chunk_id] for chunk_id in chunk_ids if chunk_id in known]
    missing = [chunk_id for chunk_id in chunk_ids if chunk_id not in known]
    try:
        for row in _run(job, missing, visible, placed):
            if TEACHER_ERROR not in json.loads(row["dropped"]):  # the next run asks again
                staging.add(row)
            rows.append(row)
            progress(len(rows), len(chunk_ids))
    finally:
        staging.flush()
    return rows, staging


def visible_chunk_ids(kb: KnowledgeBase, config: RaftConfig) -> tuple[list[str], int]:
    """Sorted ids of the chunks that may be learned, and the number of those that may not."""
    rows = kb.read_chunks(["chunk_id", "acl"])
    ids = sorted(readable(rows, config.groups)["chunk_id"].to_pylist())
    return ids, rows.num_rows - len(ids)


def choose_chunks(chunk_ids: Sequence[str], config: RaftConfig) -> list[str]:
    """At most `max_chunks` of the ids: those with the lowest hash of seed and id."""
    if config.max_chunks is None or len(chunk_ids) <= config.max_chunks:
        return list(chunk_ids)
    ordered = sorted(chunk_ids, key=lambda chunk_id: digest(["chunk", config.seed, chunk_id]))
    return sorted(ordered[: config.max_chunks])


def _run(
    job: RaftJob, chunk_ids: list[str], visible: list[str], placed: PlacedQuestions | None
) -> Iterator[dict[str, Any]]:
    if not chunk_ids:
        return
    workers = job.config.workers
    batches = math.ceil(len(chunk_ids) / workers.batch_chunks)
    wanted = count_actors(
        workers.actors,
        f"workers.cpus_per_actor={workers.cpus_per_actor:g}, "
        f"workers.gpus_per_actor={workers.gpus_per_actor:g}",
        cpus=workers.cpus_per_actor,
        gpus=workers.gpus_per_actor,
    )
    actors = min(wanted, batches)
    # Enough blocks to keep all actors busy to the end, few enough to cost nothing.
    parts = np.array_split(np.array(chunk_ids, dtype=object), min(batches, actors * 16))
    blocks = [pa.table({"chunk_id": pa.array(part, pa.string())}) for part in parts]
    dataset = ray.data.from_arrow(blocks).map_batches(
        RaftActor,
        # Inside lists, so that every actor reads one shared copy.
        fn_constructor_args=(
            job,
            [ray.put(visible)],
            [] if placed is None else [ray.put(placed.written)],
        ),
        batch_size=workers.batch_chunks,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=workers.cpus_per_actor,
        num_gpus=workers.gpus_per_actor or None,
    )
    yield from dataset.iter_rows()
