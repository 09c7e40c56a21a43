"""RAFT example generation on Ray Data: chunk ids flow, actors write, one artifact is published."""

import io
import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

from data_pipelines.artifacts import ArtifactRef, publish
from data_pipelines.filters import RowFilter
from data_pipelines.given_questions import PlacedQuestions, given_identity, place_questions
from data_pipelines.kb import KnowledgeBase
from data_pipelines.progress import Advance, no_progress
from data_pipelines.raft_actor import RaftActor, RaftJob, teacher_identity
from data_pipelines.raft_card import data_card
from data_pipelines.raft_examples import RaftConfig, to_table, with_split
from data_pipelines.raft_reading import SPLITS
from data_pipelines.resources import count_actors
from data_pipelines.runs import new_run
from data_pipelines.stores import store_uri
from data_pipelines.teachers import TeacherIdentity
from rayraft.errors import InputError
from rayraft.manifests import Manifest
from rayraft.prompts import prompt_digest
from rayraft.records import Question, RaftExample, digest


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
    dropped: dict[str, int]
    """Reasons and counts of everything that was not used."""
    seconds: float
    samples: list[RaftExample]


def build_raft_examples(
    store: str,
    config: RaftConfig,
    run: str | None = None,
    progress: Advance = no_progress,
    questions: Sequence[Question] | None = None,
) -> RaftRun:
    """Writes examples for the latest knowledge base version; publishes `<store>/raft/<run>/`.

    With `questions` those take the teacher's place (see `given_questions`). The same seed, version
    and questions give the same Parquet bytes, whatever the number of actors.

    Raises:
        NotFoundError: The store has no knowledge base, or the teacher's model does not exist.
        InputError: There is no chunk that may be learned, no example is left, or `run` is taken.
    """
    began = time.perf_counter()
    kb = KnowledgeBase.open(store)
    name = new_run(store, "raft", run, kb.version)
    visible, restricted = visible_chunk_ids(kb, config)
    if not visible:
        raise InputError(f"{store}: no chunk to write examples for ({restricted} restricted)")
    placed = _placed(kb, questions, set(visible), config) if questions is not None else None
    teacher = teacher_identity(config.teacher) if questions is None else given_identity(questions)
    chosen = choose_chunks(visible if placed is None else sorted(placed.written), config)
    rows = []
    job = RaftJob(store_uri(store), kb.version, config, teacher)
    for row in _run(job, chosen, visible, placed):
        rows.append(row)
        progress(len(rows), len(chosen))
    # All examples pass through this process, about 3 KB each.
    examples = [RaftExample.model_validate_json(text) for row in rows for text in row["examples"]]
    dropped: Counter[str] = sum((Counter(json.loads(row["dropped"])) for row in rows), Counter())
    if placed is not None:
        dropped += placed.dropped
    if not examples:
        counts = ", ".join(f"{reason} {count}" for reason, count in sorted(dropped.items()))
        raise InputError(f"{store}: no example is left of {len(chosen)} chunks ({counts})")
    split = with_split(examples, config)
    made = RaftRun(
        run=name,
        uri=ArtifactRef(store, "raft", name).uri,
        kb_version=kb.version,
        teacher=teacher.name,
        chunks=len(chosen),
        restricted_chunks=restricted,
        train=sum(example.split == "train" for example in split),
        validation=sum(example.split == "validation" for example in split),
        with_golden=sum(example.has_golden for example in split),
        short_of_distractors=sum(len(e.passages) <= config.distractors for e in split),
        dropped=dict(sorted(dropped.items())),
        seconds=round(time.perf_counter() - began, 1),
        samples=split[:3],
    )
    _publish(store, made, split, config, teacher)
    return made


def _placed(
    kb: KnowledgeBase, questions: Sequence[Question], visible: set[str], config: RaftConfig
) -> PlacedQuestions:
    wanted = {document for question in questions for document in question.gold_ids}
    chunks = {
        document: [passage for passage in passages if passage.chunk_id in visible]
        for document, passages in kb.passages_by_document(wanted).items()
    }
    return place_questions(questions, chunks, config.teacher.max_quote_chars)


def _publish(
    store: str,
    made: RaftRun,
    examples: Sequence[RaftExample],
    config: RaftConfig,
    teacher: TeacherIdentity,
) -> None:
    files: dict[str, bytes | Path] = {
        f"{side}.parquet": parquet_bytes([e for e in examples if e.split == side])
        for side in SPLITS
    }
    counts = asdict(made)
    files["card.md"] = data_card(made.run, counts, examples, config).encode()
    metrics = {
        name: counts[name]
        for name in (
            "chunks",
            "restricted_chunks",
            "train",
            "validation",
            "with_golden",
            "short_of_distractors",
            "seconds",
        )
    }
    publish(
        store,
        "raft",
        made.run,
        files,
        Manifest(
            kind="raft",
            made_from=[f"kb@{made.kb_version}", f"teacher/{teacher.name}@{teacher.digest}"],
            kb_version=made.kb_version,
            prompt_digest=prompt_digest(),
            data_digest=digest([example.model_dump(mode="json") for example in examples]),
            config=config.model_dump(mode="json"),
            metrics=metrics | {f"dropped.{k}": v for k, v in made.dropped.items()},
        ),
    )


def parquet_bytes(examples: Sequence[RaftExample]) -> bytes:
    """The examples as a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(to_table(examples), buffer, compression="zstd")
    return buffer.getvalue()


def visible_chunk_ids(kb: KnowledgeBase, config: RaftConfig) -> tuple[list[str], int]:
    """Sorted ids of the chunks that may be learned, and the number of those that may not."""
    rows = kb.read_chunks(["chunk_id", "document_id", "title", "metadata", "acl"])
    readable = RowFilter()
    readable.append(rows.select(["document_id", "title", "metadata", "acl"]).to_pylist())
    mask = readable.mask(None, config.groups)
    ids = sorted(rows["chunk_id"].filter(pa.array(mask)).to_pylist())
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
