"""Quality of retrieval: ours, fused and reranked, against BM25, MiniLM alone and plain fusion.

`DATA=<folder>` holds sets as `<set>/corpus.jsonl` (id, title, text) and `<set>/queries.dev.jsonl`;
`STORES=<folder>` keeps their knowledge bases from run to run. Without DATA the example corpus is
the only set. All contenders rank the same documents; a document stands where its best chunk does.
`SETS=<names with commas between>` takes some of the sets, `DOCUMENTS=<number>` so many documents of
each that has no knowledge base yet, all gold ones among them; the result file keeps the other sets.
`RERANKER=<name-vN>` puts one that was trained in the sets' stores in the shipped one's place.
"""

import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
from rich.console import Console
from rich.table import Table

from bench.corpus import CORPUS, example_questions
from bench.harness import FULL, RESULTS, machine, write_result
from data_pipelines.config import ChunkingConfig, RetrievalConfig
from data_pipelines.ingest import ingest_documents
from data_pipelines.kb import KnowledgeBase
from data_pipelines.open_retriever import open_retriever
from data_pipelines.readers import read_file
from data_pipelines.schema import vector_matrix
from data_pipelines.sources import find_files
from rayraft.fusion import reciprocal_rank_fusion
from rayraft.jsonl import read_objects
from rayraft.metrics import ndcg_at_k, paired_difference, recall_at_k
from rayraft.models.embedder import Embedder
from rayraft.questions import read_questions
from rayraft.records import Document, Passage, Question

SETS = ("rayapi", "wikimix", "apibench", "medquad")
SAMPLE = 1000  # documents of a set that has no knowledge base yet, at the small size
QUESTIONS = 500 if FULL else 100
DEPTH, RERANK = 50, 20
SHIPPED = "mini-reranker"
RERANKER = os.environ.get("RERANKER", SHIPPED)
Ranked = list[str]
Runs = dict[str, list[Ranked]]


def questions_of(name: str) -> list[Question]:
    """Questions with gold documents, the same at every run."""
    if name == "example":
        found = example_questions()
    else:
        found = read_questions(Path(os.environ["DATA"]) / name / "queries.dev.jsonl")
    able = [question for question in found if question.gold_ids]
    return random.Random(0).sample(able, min(QUESTIONS, len(able)))


def documents_of(name: str, questions: Sequence[Question]) -> list[Document]:
    """Documents of a set: the gold ones and a sample of the others, at the full size all."""
    if name == "example":
        files, _ = find_files([str(CORPUS / "documents")])
        found = [d for file in files for d in read_file(file)]
        return [d for d in found if isinstance(d, Document)]
    rows = read_objects(Path(os.environ["DATA"]) / name / "corpus.jsonl", "corpus")
    documents = [
        Document(document_id=row["id"], title=row.get("title") or "", text=row["text"])
        for _, row in rows
    ]
    gold = {i for question in questions for i in question.gold_ids}
    random.Random(0).shuffle(documents)
    documents.sort(key=lambda document: document.document_id not in gold)  # stable: gold first
    wanted = int(os.environ.get("DOCUMENTS", len(documents) if FULL else SAMPLE))
    return documents[: max(wanted, len(gold))]


def knowledge_base(name: str, questions: Sequence[Question], folder: Path) -> KnowledgeBase:
    """The set's knowledge base, made if it is not there."""
    store = str(folder / name)
    if (folder / name / "kb").is_dir():
        return KnowledgeBase.open(store)
    embedder = Embedder.load(threads=2)
    kb = KnowledgeBase.create_or_open(store, embedder.spec)
    ingest_documents(documents_of(name, questions), kb, embedder, ChunkingConfig())
    return kb


def rankings(kb: KnowledgeBase, questions: Sequence[Question]) -> Runs:
    """Document ids by contender and question; the first contender is ours."""
    texts = [question.question for question in questions]
    plain = open_retriever(kb, RetrievalConfig(candidates=DEPTH), threads=2)
    dense = [_documents(one) for one in plain.search(texts, DEPTH, method="dense")]
    sparse = _bm25s(kb, texts)
    runs: Runs = {
        "rayraft fused + reranked": _reranked(kb, texts, RERANKER),
        "bm25s": sparse,
        "MiniLM dense": dense,
        "bm25s + MiniLM, RRF": [
            [i for i, _ in reciprocal_rank_fusion(pair)] for pair in zip(dense, sparse, strict=True)
        ],
    }
    if (haystack := _haystack(kb)) is not None:
        runs["Haystack hybrid, RRF"] = [
            list(dict.fromkeys(hit["document_id"] for hit in haystack.search(text)))
            for text in texts
        ]
    if RERANKER != SHIPPED:
        runs["rayraft fused + reranked, as shipped"] = _reranked(kb, texts, SHIPPED)
    runs["rayraft fused"] = [_documents(one) for one in plain.search(texts, DEPTH)]
    weighted = open_retriever(kb, RetrievalConfig(candidates=DEPTH, fusion="weighted"), threads=2)
    runs["rayraft fused by weights"] = [_documents(one) for one in weighted.search(texts, DEPTH)]
    return runs


def _reranked(kb: KnowledgeBase, texts: Sequence[str], reranker: str) -> list[Ranked]:
    config = RetrievalConfig(candidates=DEPTH, rerank=RERANK, reranker=reranker)
    retriever = open_retriever(kb, config, threads=2)
    return [_documents(one) for one in retriever.search(list(texts), RERANK)]


def _haystack(kb: KnowledgeBase) -> Any:
    """Haystack's pipeline over the same chunks and vectors; None where it is not installed."""
    if find_spec("haystack") is None:
        print("haystack-ai is not installed: left out", file=sys.stderr)
        return None
    from bench.peers.haystack_hybrid import HaystackHybrid

    table = kb.read_chunks(["chunk_id", "document_id", "title", "text", "embedding"])
    rows = table.drop_columns("embedding").to_pylist()
    return HaystackHybrid(rows, vector_matrix(table["embedding"]), DEPTH)


def _documents(passages: Sequence[Passage]) -> Ranked:
    return list(dict.fromkeys(passage.document_id for passage in passages))


def _bm25s(kb: KnowledgeBase, texts: Sequence[str]) -> list[Ranked]:
    """bm25s over whole documents, with its own tokeniser and English stop words."""
    documents: dict[str, list[str]] = {}
    for row in kb.read_chunks(["document_id", "title", "text"]).to_pylist():
        documents.setdefault(row["document_id"], [row["title"]]).append(row["text"])
    index = bm25s.BM25()
    joined = [" ".join(parts) for parts in documents.values()]
    index.index(bm25s.tokenize(joined, stopwords="en", show_progress=False), show_progress=False)
    asked = bm25s.tokenize(list(texts), stopwords="en", show_progress=False)
    depth = min(DEPTH, len(documents))
    found, scores = index.retrieve(asked, k=depth, show_progress=False)
    ids = list(documents)
    return [
        [ids[i] for i, score in zip(row, points, strict=True) if score > 0]
        for row, points in zip(found, scores, strict=True)
    ]


def measured(runs: Runs, questions: Sequence[Question]) -> dict[str, dict[str, list[float]]]:
    """Recall@5 and nDCG@10 of each question, by contender."""
    measures: dict[str, Callable[[Ranked, list[str]], float | None]] = {
        "recall@5": lambda ids, gold: recall_at_k(ids, gold, 5),
        "nDCG@10": lambda ids, gold: ndcg_at_k(ids, gold, 10),
    }
    return {
        who: {
            name: [
                float(measure(ids, question.gold_ids) or 0)
                for ids, question in zip(ranked, questions, strict=True)
            ]
            for name, measure in measures.items()
        }
        for who, ranked in runs.items()
    }


def compared(scores: Mapping[str, Mapping[str, list[float]]]) -> dict[str, Any]:
    """Means by contender, and ours minus each with its 95 % interval."""
    ours = next(iter(scores))
    record: dict[str, Any] = {}
    for who, by_measure in scores.items():
        record[who] = {}
        for name, values in by_measure.items():
            record[who][name] = round(float(np.mean(values)), 4)
            difference = paired_difference(scores[ours][name], values)
            if who != ours and difference is not None:
                interval = [round(bound, 4) for bound in difference.ci95]
                record[who][f"ours - it, {name}"] = [round(difference.mean, 4), *interval]
    return record


def show(name: str, count: int, record: Mapping[str, Any]) -> None:
    """Prints the table of one set."""
    table = Table(title=f"{name}: {count} questions", title_justify="left")
    for column in ("", "recall@5", "nDCG@10", "ours - it: recall@5", "nDCG@10"):
        table.add_column(column)
    for who, values in record.items():
        differences = [values.get(f"ours - it, {m}") for m in ("recall@5", "nDCG@10")]
        told = [
            "" if d is None else f"{d[0]:+.3f} ({d[1]:+.3f} to {d[2]:+.3f})" for d in differences
        ]
        table.add_row(who, f"{values['recall@5']:.3f}", f"{values['nDCG@10']:.3f}", *told)
    Console(width=140).print(table)


def main() -> None:
    """Runs the bench."""
    names = os.environ.get("SETS", ",".join(SETS)).split(",")
    if "DATA" not in os.environ:
        names = ["example"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(os.environ.get("STORES", temporary))
        for name in names:
            if name != "example" and not (Path(os.environ["DATA"]) / name).is_dir():
                continue
            questions = questions_of(name)
            kb = knowledge_base(name, questions, folder)
            print(f"{name}: {kb.count_chunks()} chunks", file=sys.stderr)
            record = compared(measured(rankings(kb, questions), questions))
            show(name, len(questions), record)
            about = {"questions": len(questions), "documents": len(kb.document_hashes())}
            key = name if RERANKER == SHIPPED else f"{name}, reranker {RERANKER}"
            write(key, about | {"scores": record, "machine": machine()})


def write(name: str, record: Mapping[str, Any]) -> None:
    """The result file, with this set in it beside those of other runs."""
    path = RESULTS / "retrieval_quality.json"
    before = json.loads(path.read_text(encoding="utf-8"))["sets"] if path.is_file() else {}
    packages = ["pylance", "faiss-cpu", "bm25s", "torch"]
    result = {
        "name": "retrieval_quality",
        "work": f"dev questions, {RERANK} reranked of {DEPTH} from each search",
        "sets": before | {name: record},
        "versions": {package: version(package) for package in packages},
        "command": f"{'SIZE=full ' if FULL else ''}DATA=... make bench NAME=retrieval_quality",
    }
    write_result(result)


if __name__ == "__main__":
    main()
