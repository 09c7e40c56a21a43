"""A reranker trained on a store's own questions: mined rows, the common loop, an artifact."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from data_pipelines.config import RetrievalConfig
from data_pipelines.kb import KnowledgeBase
from data_pipelines.model_artifacts import model_source
from data_pipelines.open_retriever import open_retriever
from data_pipelines.raft_reading import read_run
from data_pipelines.ray_tables import from_tables
from data_pipelines.retrieval import HybridRetriever
from data_pipelines.stores import store_uri
from rayraft.errors import ConfigError, InputError
from rayraft.manifests import Manifest
from rayraft.metrics import ndcg_at_k
from rayraft.models.base_config import load_tokenizer, read_config
from rayraft.models.base_files import base_digest, base_folder
from rayraft.questions import question_of
from rayraft.records import Question, RaftExample, digest
from rayraft.tenants import check_learner
from train.adapter import PICTURE, Watch, examples_run
from train.config import deciding_settings
from train.curve_svg import curve_svg
from train.fit import fit_features
from train.mini_sources import is_held_out
from train.rerank_rows import Mining, RankRow, mine, rank_features
from train.reranker_config import RerankerConfig
from train.run_files import RunPlace

DEPTH = 10
"""Of the nDCG that says how good a ranking is."""


@dataclass(frozen=True)
class TrainedReranker:
    """A published reranker."""

    ref: ArtifactRef
    manifest: Manifest


@dataclass(frozen=True)
class Asked:
    """Questions to learn from, and others to see what was learned."""

    train: list[Question]
    held_out: list[Question]
    source: str
    """Where they are from, for the manifest."""
    kb_version: int | None
    groups: Sequence[str] = ()
    """Whose examples they are from."""


def train_reranker(
    store: str, config: RerankerConfig, name: str, asked: Asked, watch: Watch | None = None
) -> TrainedReranker:
    """Trains on what our own search returns for the questions, and publishes the model.

    Interrupted, the same call goes on from the last checkpoint.

    Args:
        store: Folder or URI with the knowledge base.
        config: Of rows and schedule.
        name: Of the reranker.
        asked: Questions with golden documents.
        watch: Told where the run is kept.

    Raises:
        NotFoundError: There is no knowledge base, or no such base model.
        InputError: No question has both a golden passage and a wrong one, or what they are from
            only another tenant may read.
        ConfigError: The base model is no reranker of the shipped kind.
    """
    artifacts.check_name("reranker", name)
    check_learner(name, asked.groups, asked.source)
    settings = config.train.model_copy(
        update={"base_model": model_source(store, "reranker", config.train.base_model)}
    )
    check_base(settings.base_model)
    kb = KnowledgeBase.open(store, asked.kb_version)
    plain = open_retriever(kb, RetrievalConfig(candidates=config.candidates))
    rows = [_mined(side, plain, kb, config) for side in (asked.train, asked.held_out)]
    if not rows[0]:
        raise InputError(f"{asked.source}: no question with both a golden passage and a wrong one")
    base = base_digest(settings.base_model)
    parts = [config.model_dump(exclude={"train"}), deciding_settings(settings), base]
    recipe = digest([*parts, [[row.question, row.passages, row.label] for row in rows[0]]])
    place = RunPlace(f"{store_uri(store)}/runs", f"reranker-{name}-{recipe[:12]}")
    if watch is not None:
        watch(place)
    features = [_features(side, settings.base_model, config.max_tokens) for side in rows]
    result = fit_features(settings, features[0], place, features[1] if rows[1] else None)
    measured = asked.held_out[: config.measured]
    with TemporaryDirectory() as folder:
        exported = result.export_to(Path(folder))
        rerankers = {"before": settings.base_model, "after": folder}
        figures = _figures(plain, kb, rerankers, measured, config) if measured else {}
        manifest = Manifest(
            kind="reranker",
            made_from=[asked.source, f"runs/{place.name}"],
            kb_version=kb.version,
            base_model=config.train.base_model,
            base_digest=base,
            data_digest=recipe,
            config=config.model_dump(mode="json"),
            metrics=result.metrics
            | {"rows": float(len(rows[0])), "measured": float(len(measured)), **figures},
            curve=result.curve,
        )
        return _publish(store, name, exported, manifest)


def _publish(store: str, name: str, exported: Path, manifest: Manifest) -> TrainedReranker:
    files: dict[str, bytes | Path] = {path.name: path for path in exported.iterdir()}
    files[PICTURE] = curve_svg(manifest.curve, name).encode()
    ref = artifacts.publish(store, "reranker", name, files, manifest)
    return TrainedReranker(ref, artifacts.read_manifest(ref))


def from_raft(store: str, run: str | None, config: RerankerConfig) -> Asked:
    """The questions of a RAFT run; its validation side is held out.

    Raises:
        NotFoundError: There is no such run.
        ArtifactMismatch: It was written for other prompts.
    """
    source, manifest = examples_run(store, run)
    tables = read_run(source)
    sides = [
        [
            question_of(RaftExample.model_validate(row))
            for row in tables[side].to_pylist()
            if row["answer"]
        ]
        for side in ("train", "validation")
    ]
    learned, groups = _chosen(sides[0], config), manifest.config.get("groups") or ()
    return Asked(learned, sides[1], f"raft/{source.name}", manifest.kb_version, groups)


def from_questions(questions: Sequence[Question], source: str, config: RerankerConfig) -> Asked:
    """People's questions with golden documents; a share of them is held out by their ids."""
    golden = [question for question in questions if question.gold_ids and question.answers]
    aside = [q for q in golden if is_held_out(q.id, config.held_out)]
    kept = [q for q in golden if not is_held_out(q.id, config.held_out)]
    return Asked(_chosen(kept, config), aside, source, None)


def check_base(base_model: str) -> None:
    """Whether this training can go on from a model.

    Raises:
        NotFoundError: There is no such model.
        ConfigError: It is no reranker of the shipped kind, whose rows hold several passages.
    """
    kind = read_config(base_folder(base_model)).architectures or []
    if "MiniForSequenceClassification" not in kind:
        raise ConfigError(
            f"train.base_model={base_model!r}: is {', '.join(kind) or 'unknown'}; must be "
            "mini-reranker or one that was trained from it"
        )


def _figures(
    plain: HybridRetriever,
    kb: KnowledgeBase,
    rerankers: Mapping[str, str],
    questions: Sequence[Question],
    config: RerankerConfig,
) -> dict[str, float]:
    """Mean nDCG in the fused order, and with all candidates put in order by each reranker."""
    many = config.candidates
    figures = {f"ndcg@{DEPTH}_fused": _mean_ndcg(plain, questions)}
    for when, reranker in rerankers.items():
        settings = RetrievalConfig(candidates=many, rerank=many, reranker=reranker)
        ranked = open_retriever(kb, settings, embedder=plain.embedder)
        figures[f"ndcg@{DEPTH}_{when}"] = _mean_ndcg(ranked, questions)
    return figures


def _mean_ndcg(retriever: HybridRetriever, questions: Sequence[Question]) -> float:
    found = retriever.search([q.question for q in questions], DEPTH)
    scores = [
        ndcg_at_k([hit.document_id for hit in hits], question.gold_ids, DEPTH) or 0.0
        for question, hits in zip(questions, found, strict=True)
    ]
    return sum(scores) / len(scores)


def _chosen(questions: list[Question], config: RerankerConfig) -> list[Question]:
    ordered = sorted(questions, key=lambda q: digest([config.seed, q.id]))
    return ordered[: config.max_questions]


def _mined(
    questions: Sequence[Question],
    retriever: HybridRetriever,
    kb: KnowledgeBase,
    config: RerankerConfig,
) -> list[RankRow]:
    documents = sorted({i for question in questions for i in question.gold_ids})
    golden = kb.passages_by_document(documents) if documents else {}
    mining = Mining(config.candidates, config.negatives, config.seed)
    return list(mine(questions, retriever, golden, mining))


def _features(rows: list[RankRow], base_model: str, max_tokens: int) -> Any:
    return from_tables([rank_features(rows, load_tokenizer(base_model), max_tokens)])
