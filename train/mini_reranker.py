"""Trains the shipped reranker: searches for hard negatives, then the common loop on lists."""

import json
from pathlib import Path

import pyarrow as pa
import ray.data
from transformers import AutoModelForSeq2SeqLM

from data_pipelines.config import IngestConfig, RetrievalConfig
from data_pipelines.ingest_job import run_ingest
from data_pipelines.kb import KnowledgeBase
from data_pipelines.retrieval import HybridRetriever
from rayraft.mini import MiniForSequenceClassification
from rayraft.mini.tokenizer import build_pair_tokenizer
from rayraft.models.base import base_digest
from rayraft.models.embedder import Embedder
from rayraft.questions import read_questions
from rayraft.records import Passage, Question, digest
from train.config import deciding_settings
from train.fit import RunPlace, fit_features
from train.mini_config import RerankSet, RerankStage
from train.rerank_rows import Mining, RankRow, mine, rank_features

CURVE = "curve.json"


def train_reranker(stage: RerankStage, data: Path, reader: Path, out: Path) -> Path:
    """Trains it and returns `out`/stage-reranker; a finished one is not trained again.

    Args:
        stage: Rows and schedule.
        data: Folder of retrieval sets, `<data>/<name>/{corpus.jsonl,queries.train.jsonl}`.
        reader: Folder of the trained reader, whose encoder is the beginning.
        out: Folder of the run.
    """
    folder = out / "stage-reranker"
    if (folder / CURVE).is_file():
        return folder
    base = _initial(reader, out / "reranker-initial")
    rows, held_out = _mined(stage, data, out)
    features = _features(rows, stage)
    settings = stage.train.model_copy(update={"base_model": str(base.resolve())})
    decides = [stage.model_dump(), deciding_settings(settings), base_digest(str(base))]
    place = RunPlace(str((out / "runs").resolve()), f"reranker-{digest(decides)[:8]}")
    result = fit_features(settings, features, place, _features(held_out, stage))
    folder.mkdir(parents=True, exist_ok=True)
    result.export_to(folder)
    # Last, so that its presence means a finished stage.
    (folder / CURVE).write_text(json.dumps(result.curve), encoding="utf-8")
    return folder


def _initial(reader: Path, folder: Path) -> Path:
    if not (folder / "model.safetensors").is_file():
        model = AutoModelForSeq2SeqLM.from_pretrained(reader)
        MiniForSequenceClassification.from_reader(model).save_pretrained(folder)
        build_pair_tokenizer().save_pretrained(folder)
    return folder


def _mined(stage: RerankStage, data: Path, out: Path) -> tuple[list[RankRow], list[RankRow]]:
    """Rows to train on, and those of the held-out questions."""
    mining = Mining(stage.candidates, stage.negatives, stage.seed)
    rows: list[RankRow] = []
    held_out: list[RankRow] = []
    embedder = Embedder.load()
    for settings in stage.sets:
        store = str(out / "stores" / settings.name)
        run_ingest([str(data / settings.name / "corpus.jsonl")], store, IngestConfig())
        kb = KnowledgeBase.open(store)
        retriever = HybridRetriever(kb, embedder, RetrievalConfig(candidates=stage.candidates))
        kept, aside = _questions(data, settings, stage)
        golden = _chunks_by_document(kb)
        rows += mine(kept, retriever, golden, mining)
        held_out += mine(aside, retriever, golden, mining)
    return rows, held_out


def _questions(
    data: Path, settings: RerankSet, stage: RerankStage
) -> tuple[list[Question], list[Question]]:
    kept: list[Question] = []
    aside: list[Question] = []
    path = data / settings.name / "queries.train.jsonl"
    # In the order of their digests: a share of them is then a share of every part of the file.
    for question in sorted(read_questions(path), key=lambda q: digest([stage.seed, q.id])):
        share = int(digest(question.id)[:8], 16) / 0xFFFFFFFF
        (aside if share < stage.held_out else kept).append(question)
    return kept[: settings.questions], aside


def _chunks_by_document(kb: KnowledgeBase) -> dict[str, list[Passage]]:
    chunks = kb.read_chunks(["chunk_id", "document_id", "title", "text"])
    by_document: dict[str, list[Passage]] = {}
    for row in chunks.to_pylist():
        by_document.setdefault(row["document_id"], []).append(Passage(**row))
    return by_document


def _features(rows: list[RankRow], stage: RerankStage) -> ray.data.Dataset:
    table: pa.Table = rank_features(rows, build_pair_tokenizer(), stage.max_tokens)
    return ray.data.from_arrow(table)
