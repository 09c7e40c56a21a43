"""An embedder trained on a store's own questions: LoRA by InfoNCE, merged, an artifact."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import ray.data

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from data_pipelines.config import RetrievalConfig
from data_pipelines.kb import KnowledgeBase
from data_pipelines.model_artifacts import model_source
from data_pipelines.open_retriever import open_retriever
from data_pipelines.raft_reading import read_run
from data_pipelines.ray_tables import from_tables
from data_pipelines.stores import store_uri
from rayraft.errors import InputError
from rayraft.manifests import Manifest
from rayraft.models.base_files import base_digest
from rayraft.models.embedder import Embedder
from rayraft.models.embedder_tokenizer import EmbedderTokenizer
from rayraft.questions import question_of
from rayraft.records import Passage, Question, RaftExample, digest
from rayraft.tenants import check_learner
from train.adapter import PICTURE, Watch, examples_run
from train.config import deciding_settings
from train.curve_svg import curve_svg
from train.embedder_config import EmbedderConfig
from train.embedder_measure import figures, sought
from train.embedder_rows import group_features, groups
from train.fit import fit_features
from train.mini_sources import is_held_out
from train.rerank_rows import Contrast, Mining, contrasts
from train.run_files import RunPlace


@dataclass(frozen=True)
class TrainedEmbedder:
    """A published embedder."""

    ref: ArtifactRef
    manifest: Manifest


@dataclass(frozen=True)
class Lessons:
    """What is learned from, and other questions to see what was learned."""

    train: list[Contrast]
    held_out: list[Contrast]
    source: str
    """Where they are from, for the manifest."""
    kb: KnowledgeBase
    groups: Sequence[str] = ()
    """Whose examples they are from."""


def train_embedder(
    store: str, config: EmbedderConfig, name: str, lessons: Lessons, watch: Watch | None = None
) -> TrainedEmbedder:
    """Trains an embedder to find a store's documents, and publishes it; the store keeps its own.

    Interrupted, the same call goes on from the last checkpoint.

    Args:
        store: Folder or URI with the knowledge base.
        config: Of rows and schedule.
        name: Of the embedder.
        lessons: Questions with passages.
        watch: Told where the run is kept.

    Raises:
        NotFoundError: There is no such base model.
        ConfigError: The base model is no embedder.
        InputError: There is nothing to learn, or what only another tenant may read.
    """
    artifacts.check_name("embedder", name)
    check_learner(name, lessons.groups, lessons.source)
    if not lessons.train:
        raise InputError(
            f"{lessons.source}: no question with both a golden passage and a wrong one"
        )
    base_model = model_source(store, "embedder", config.train.base_model)
    settings = config.train.model_copy(update={"base_model": base_model})
    base = Embedder.load(base_model)
    rows = [_features(side, config, base.tokenizer) for side in (lessons.train, lessons.held_out)]
    parts = [config.model_dump(exclude={"train"}), deciding_settings(settings)]
    recipe = digest([*parts, base_digest(base_model), _learned(lessons.train)])
    place = RunPlace(f"{store_uri(store)}/runs", f"embedder-{name}-{recipe[:12]}")
    if watch is not None:
        watch(place)
    result = fit_features(settings, rows[0], place, rows[1] if lessons.held_out else None)
    with TemporaryDirectory() as folder:
        exported = result.export_to(Path(folder))
        manifest = Manifest(
            kind="embedder",
            made_from=[lessons.source, f"runs/{place.name}"],
            kb_version=lessons.kb.version,
            base_model=config.train.base_model,
            base_digest=base_digest(base_model),
            data_digest=recipe,
            config=config.model_dump(mode="json"),
            metrics=result.metrics
            | {"rows": float(len(lessons.train))}
            | measure(lessons, base, Embedder.load(folder), config),
            curve=result.curve,
        )
        files: dict[str, bytes | Path] = {path.name: path for path in exported.iterdir()}
        files[PICTURE] = curve_svg(manifest.curve, name).encode()
        ref = artifacts.publish(store, "embedder", name, files, manifest)
    return TrainedEmbedder(ref, artifacts.read_manifest(ref))


def measure(
    lessons: Lessons, before: Embedder, after: Embedder, config: EmbedderConfig
) -> dict[str, float]:
    """How well two embedders find the held-out questions' documents; empty of no question."""
    questions = [contrast.question for contrast in lessons.held_out][: config.measured]
    what = sought(lessons.kb, questions, config.k, config.measured_chunks, config.seed)
    among = {"measured": float(len(questions)), "measured_chunks": float(what.chunks.num_rows)}
    return among | figures(what.by(before), what.by(after), config.k)


def from_raft(store: str, run: str | None, config: EmbedderConfig) -> Lessons:
    """The questions of a RAFT run against its distractors; its validation side is held out.

    Raises:
        NotFoundError: There is no such run, or no longer the knowledge base version that it is of.
        ArtifactMismatch: It was written for other prompts.
    """
    source, manifest = examples_run(store, run)
    tables = read_run(source)
    kb = KnowledgeBase.open(store, manifest.kb_version)
    sides = [
        [RaftExample.model_validate(row) for row in tables[side].to_pylist() if row["answer"]]
        for side in ("train", "validation")
    ]
    golden = kb.passages_by_document({e.document_id for side in sides for e in side})
    chunks = {chunk.chunk_id: chunk for own in golden.values() for chunk in own}
    made = [[c for e in side if (c := _contrast(e, chunks))] for side in sides]
    learned = sorted(made[0], key=lambda c: digest([config.seed, c.question.id]))
    of = manifest.config.get("groups") or ()
    return Lessons(learned[: config.max_questions], made[1], f"raft/{source.name}", kb, of)


def from_questions(
    store: str, questions: Sequence[Question], source: str, config: EmbedderConfig
) -> Lessons:
    """People's questions against what hybrid search returns; a share is held out by their ids.

    Raises:
        NotFoundError: There is no knowledge base.
    """
    kb = KnowledgeBase.open(store)
    golden = [question for question in questions if question.gold_ids and question.answers]
    kept = [q for q in golden if not is_held_out(q.id, config.held_out)]
    aside = [q for q in golden if is_held_out(q.id, config.held_out)]
    ordered = sorted(kept, key=lambda q: digest([config.seed, q.id]))
    own = kb.passages_by_document({i for question in golden for i in question.gold_ids})
    retriever = open_retriever(kb, RetrievalConfig(candidates=config.candidates))
    mining = Mining(config.candidates, max(1, config.negatives), config.seed)
    sides = [
        list(contrasts(side, retriever, own, mining))
        for side in (ordered[: config.max_questions], aside[: config.measured])
    ]
    return Lessons(sides[0], sides[1], source, kb)


def _contrast(example: RaftExample, chunks: Mapping[str, Passage]) -> Contrast | None:
    """None if the golden chunk is not in the knowledge base any more."""
    golden = set(example.golden_ids)
    right = next((chunks[i] for i in example.golden_ids if i in chunks), None)
    wrong = [passage for passage in example.passages if passage.chunk_id not in golden]
    if right is None:
        return None
    return Contrast(question_of(example), right, wrong)


def _learned(rows: Sequence[Contrast]) -> list[list[object]]:
    """What a run learns from, for its digest."""
    return [
        [row.question.question, row.right.text, [passage.text for passage in row.wrong]]
        for row in rows
    ]


def _features(
    rows: Sequence[Contrast], config: EmbedderConfig, tokenizer: EmbedderTokenizer
) -> ray.data.Dataset:
    made = groups(rows, config.group, config.passes, config.seed)
    table = group_features(made, tokenizer, config.max_tokens, config.negatives)
    return from_tables([table])
