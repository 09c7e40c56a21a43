"""Trains the shipped reranker: searches for hard negatives, then the common loop on lists."""

from pathlib import Path

import pyarrow as pa
import ray.data

from data_pipelines.config import IngestConfig, RetrievalConfig
from data_pipelines.ingest_job import run_ingest
from data_pipelines.kb import KnowledgeBase
from data_pipelines.ray_tables import from_tables
from data_pipelines.retrieval import HybridRetriever
from rayraft.mini.modeling import MiniForConditionalGeneration
from rayraft.mini.reranking import MiniForSequenceClassification
from rayraft.mini.tokenizer import build_pair_tokenizer
from rayraft.models.embedder import Embedder
from rayraft.questions import read_questions
from rayraft.records import Question, digest
from train.config import TrainConfig
from train.fit import FitResult, fit_features
from train.mini_config import RerankSet, RerankStage
from train.mini_manifest import WEIGHTS
from train.mini_sources import is_held_out
from train.mini_stage import train_stage
from train.rerank_rows import Mining, RankRow, mine, rank_features
from train.run_files import Point, RunPlace


def train_reranker(stage: RerankStage, data: Path, reader: Path, folder: Path) -> list[Point]:
    """Trains it into `folder` and returns its loss curve; a finished one is not trained again.

    Args:
        stage: Rows and schedule.
        data: Folder of retrieval sets, `<data>/<name>/{corpus.jsonl,queries.train.jsonl}`.
        reader: Folder of the trained reader, whose encoder is the beginning.
        folder: Within the folder of the run, which also gets the sets' knowledge bases.
    """
    base = _initial(reader, folder.parent / "reranker-initial")

    def fit(settings: TrainConfig, place: RunPlace) -> FitResult:
        rows, held_out = _mined(stage, data, folder.parent)
        return fit_features(settings, _features(rows, stage), place, _features(held_out, stage))

    return train_stage(folder, stage.model_dump(), stage.train, base, fit)


def _initial(reader: Path, folder: Path) -> Path:
    if not (folder / WEIGHTS).is_file():
        model = MiniForConditionalGeneration.from_pretrained(reader)
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
        golden = kb.passages_by_document()
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
        (aside if is_held_out(question.id, stage.held_out) else kept).append(question)
    return kept[: settings.questions], aside


def _features(rows: list[RankRow], stage: RerankStage) -> ray.data.Dataset:
    table: pa.Table = rank_features(rows, build_pair_tokenizer(), stage.max_tokens)
    return from_tables([table])
