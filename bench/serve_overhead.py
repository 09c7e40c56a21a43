"""What the serving graph adds to a `rag` answer: HTTP latency less its stages' compute, one client.

Each question is answered by `rayraft serve` over HTTP and, in turn, by retriever and reader in this
process with the threads that the replicas have; the bar is 8 ms at the median of the differences.
The stages of both must give the same answers, or nothing is reported.

`STORE=<store> QUESTIONS=<file>`; `SETTINGS` (with spaces between) reach the server.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import torch

from bench.harness import FULL, report
from bench.servers import ours, running
from data_pipelines.kb import KnowledgeBase
from data_pipelines.open_retriever import open_retriever
from rayraft.metrics import normalise_answer
from rayraft.models.text import TextModel
from rayraft.prompts import answer_messages, parse_answer
from rayraft.questions import read_questions

K, RETRIEVER_THREADS, GENERATOR_THREADS = 4, 1, 2
WARM_UP = 5


def main() -> None:
    """Runs the bench."""
    store, file = os.environ["STORE"], os.environ["QUESTIONS"]
    questions = [q.question for q in read_questions(file, limit=100 if FULL else 40)]
    retriever = open_retriever(KnowledgeBase.open(store), threads=RETRIEVER_THREADS)
    model = TextModel.load("mini", threads=GENERATOR_THREADS)

    def compute(question: str) -> str:
        torch.set_num_threads(RETRIEVER_THREADS)
        (found,) = retriever.search([question], K, groups=())
        torch.set_num_threads(GENERATOR_THREADS)
        return parse_answer(model.generate([answer_messages(question, found)])[0].text).text

    served, alone, same = [], [], 0
    settings = os.environ.get("SETTINGS", "").split()
    with tempfile.TemporaryDirectory() as name, running(ours(store, *settings), Path(name)) as url:
        client = httpx2.Client(base_url=url, timeout=120, trust_env=False)
        for question in [*questions[:WARM_UP], *questions]:
            body = {"model": "rayraft/rag", "messages": [{"role": "user", "content": question}]}
            began = time.perf_counter()
            answer = client.post("/v1/chat/completions", json=body).raise_for_status().json()
            served.append(1000 * (time.perf_counter() - began))
            began = time.perf_counter()
            text = compute(question)
            alone.append(1000 * (time.perf_counter() - began))
            said = answer["choices"][0]["message"]["content"]
            # The service shows the passage's own spelling.
            agrees = not text or normalise_answer(said) == normalise_answer(text)
            same += agrees
            if not agrees:
                print(f"{question}: {said!r}, alone {text!r}", file=sys.stderr)
    if same < 0.9 * len(served):
        raise SystemExit(f"only {same} of {len(served)} answers are the same")
    served, alone = served[WARM_UP:], alone[WARM_UP:]
    added = sorted(s - a for s, a in zip(served, alone, strict=True))
    print(f"added by the graph: median {statistics.median(added):.1f} ms", end=", ")
    print(f"p95 {added[int(0.95 * len(added))]:.1f} ms")
    report(
        "serve_overhead",
        f"{len(questions)} answers from {K} passages, one client",
        "ms, median",
        {"rayraft serve over HTTP": served, "the same stages in one process": alone},
        ["ray", "torch"],
        more_is_better=False,
        notes={"added_ms": {"p50": round(statistics.median(added), 2)}},
    )


if __name__ == "__main__":
    main()
