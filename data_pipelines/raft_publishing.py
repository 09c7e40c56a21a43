"""Publishes RAFT examples as a run: tables, data card, manifest."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from data_pipelines.artifacts import ArtifactRef, publish, read_manifest
from data_pipelines.raft_card import data_card
from data_pipelines.raft_examples import RaftConfig, to_table
from data_pipelines.raft_reading import SPLITS
from rayraft.manifests import Manifest
from rayraft.prompts import prompt_digest
from rayraft.records import RaftExample, digest

METRICS = (
    "chunks",
    "restricted_chunks",
    "train",
    "validation",
    "with_golden",
    "unanswerable",
    "multi_golden",
    "short_of_distractors",
    "refused_distractors",
    "prompt_tokens",
    "completion_tokens",
    "seconds",
)
"""Figures of a run that its manifest keeps."""
SUMMED = ("refused_distractors", "prompt_tokens", "completion_tokens", "seconds")
"""Those of them that several runs joined into one have spent together."""


def publish_run(
    store: str,
    counts: Mapping[str, Any],
    examples: Sequence[RaftExample],
    config: RaftConfig,
    made_from: Sequence[str],
) -> ArtifactRef:
    """Publishes `<store>/raft/<run>/`.

    Args:
        store: Folder or URI.
        counts: `run`, `teacher`, `kb_version`, `dropped` (reasons and counts) and the `METRICS`.
        examples: With their splits, in order.
        config: That they were made by.
        made_from: For the manifest.

    Raises:
        InputError: The name is taken.
    """
    files: dict[str, bytes | Path] = {
        f"{side}.parquet": parquet_bytes([e for e in examples if e.split == side])
        for side in SPLITS
    }
    files["card.md"] = data_card(counts["run"], counts, examples, config).encode()
    metrics = {name: counts[name] for name in METRICS}
    manifest = Manifest(
        kind="raft",
        made_from=list(made_from),
        kb_version=counts["kb_version"],
        prompt_digest=prompt_digest(),
        data_digest=digest([example.model_dump(mode="json") for example in examples]),
        config=config.model_dump(mode="json"),
        metrics=metrics | {f"dropped.{k}": v for k, v in counts["dropped"].items()},
    )
    return publish(store, "raft", counts["run"], files, manifest)


@dataclass(frozen=True)
class JoinedRun:
    """A run whose examples were written as several."""

    name: str
    teacher: str
    """As its card calls who wrote it."""
    kb_version: int
    parts: Sequence[ArtifactRef]


def publish_joined(
    store: str, joined: JoinedRun, examples: Sequence[RaftExample], config: RaftConfig
) -> ArtifactRef:
    """Publishes examples of several runs as one.

    Args:
        store: Folder or URI.
        joined: What the parts are.
        examples: With their splits, in order.
        config: That they were made by.

    Raises:
        InputError: The name is taken.
    """
    spent = [read_manifest(part).metrics for part in joined.parts]
    counts: dict[str, Any] = {
        "run": joined.name,
        "teacher": joined.teacher,
        "kb_version": joined.kb_version,
        "chunks": len({example.chunk_id for example in examples}),
        "restricted_chunks": max((int(m.get("restricted_chunks", 0)) for m in spent), default=0),
        **{key: sum(m.get(key, 0) for m in spent) for key in SUMMED},
        **example_counts(examples, config),
        "dropped": {},
    }
    made_from = [f"kb@{joined.kb_version}", *(f"raft/{part.name}" for part in joined.parts)]
    return publish_run(store, counts, examples, config, made_from)


def example_counts(examples: Sequence[RaftExample], config: RaftConfig) -> dict[str, int]:
    """Those of the `METRICS` that follow from the examples."""
    return {
        "train": sum(example.split == "train" for example in examples),
        "validation": sum(example.split == "validation" for example in examples),
        "with_golden": sum(example.has_golden for example in examples),
        "unanswerable": sum(not example.golden_ids for example in examples),
        "multi_golden": sum(len(example.golden_ids) > 1 for example in examples),
        "short_of_distractors": sum(len(e.passages) <= config.distractors for e in examples),
    }


def parquet_bytes(examples: Sequence[RaftExample]) -> bytes:
    """The examples as a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(to_table(examples), buffer, compression="zstd")
    return buffer.getvalue()
