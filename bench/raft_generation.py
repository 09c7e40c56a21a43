"""RAFT examples: our `raft` command against gorilla's `raft.py`, from the same endpoint and chunks.

`GORILLA_RAFT` names the folder `raft` of a checkout of github.com/ShishirPatil/gorilla; it runs as
it is, with its 2 workers, in an environment of its own. Both get the same chunks (the peer's are
put where it keeps its own, so that it need not cut text) and write so many questions a chunk with
the same number of distractors and the same P. Whole commands are timed, start included.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bench.corpus import CORPUS
from bench.harness import FULL, report
from bench.raft_endpoint import PEER_ANSWER, Endpoint, serving
from data_pipelines.kb import KnowledgeBase
from data_pipelines.local_teacher import LocalTeacher
from data_pipelines.raft_examples import RaftConfig
from data_pipelines.raft_plan import choose_chunks, teacher_requests, visible_chunk_ids
from data_pipelines.teacher_config import TeacherConfig
from data_pipelines.teachers import TeacherRequest, WrittenQuestion
from rayraft.models.text import TextModel
from rayraft.prompts import BEGIN_QUOTE, END_QUOTE

CHUNKS = 300 if FULL else 60
QUESTIONS = 3
DISTRACTORS = 4
GOLDEN_FRACTION = 0.8
PEER_WORKERS = 2
SETTLED_S = 2.0
"""What was answered so long before a kill must be known after it."""
PEER_PACKAGES = [
    "openai",
    "PyPDF2",
    "python-dotenv",
    "pyyaml",
    "coloredlogs",
    "mdc",
    "datasets",
    "transformers",
    "tqdm",
    "langchain_experimental",
    "langchain_openai",
    "azure-identity",
]
_QUOTE = re.compile(re.escape(BEGIN_QUOTE) + "(.*?)" + re.escape(END_QUOTE), re.DOTALL)


def main() -> None:
    """Runs the bench."""
    peer = Path(os.environ.get("GORILLA_RAFT", ""))
    if not (peer / "raft.py").is_file():
        raise SystemExit("error: GORILLA_RAFT must be the folder raft of a gorilla checkout")
    with tempfile.TemporaryDirectory(prefix="rayraft-bench-") as folder:
        store = f"{folder}/store"
        _run([sys.executable, "-m", "data_pipelines", "ingest", str(CORPUS / "documents"),
              "--store", store])  # fmt: skip
        requests = _requests(store)
        with serving(_written(requests)) as endpoint:
            seconds = {"rayraft": _ours(store, "timed", endpoint)}
            ours = _our_faults(store, "timed")
            again = _killed(store, endpoint)
            python = _peer_python(Path(folder))
            began = time.perf_counter()
            rows = _peer(python, peer, Path(folder), [r.text for r in requests], endpoint)
            seconds["gorilla raft.py"] = time.perf_counter() - began
        theirs = _peer_faults(rows)
    valid = {"rayraft": ours["valid"], "gorilla raft.py": theirs["valid"]}
    print(f"ours   {dict(ours)}\npeer   {dict(theirs)}\nkilled {again}")
    report(
        name="raft_generation",
        work=f"{len(requests)} chunks, {QUESTIONS} questions each, 1 + {DISTRACTORS} passages, "
        f"P = {GOLDEN_FRACTION:g}, one endpoint",
        unit="valid examples a minute",
        figures={who: [valid[who] / seconds[who] * 60] for who in seconds},
        packages=["ray", "httpx2"],
        more_is_better=True,
        notes={"ours": ours, "peer": theirs, "seconds": seconds, "killed": again},
    )


def _requests(store: str) -> list[TeacherRequest]:
    kb = KnowledgeBase.open(store)
    config = _config("")
    visible, _ = visible_chunk_ids(kb, config)
    return teacher_requests(kb, choose_chunks(visible, config), config)


def _config(url: str) -> RaftConfig:
    # At an endpoint's pace few processes are enough, with many requests under way in each.
    return RaftConfig.model_validate(
        {
            "questions_per_chunk": QUESTIONS,
            "distractors": DISTRACTORS,
            "golden_fraction": GOLDEN_FRACTION,
            "max_chunks": CHUNKS,
            "filters": {"golden_within": None, "near_duplicate": 1.0},
            "guard": {"reranker": None},
            "teacher": {"kind": "openai", "base_model": "m", "url": url, "max_in_flight": 64},
            "workers": {"actors": 2},
        }
    )


def _written(requests: Sequence[TeacherRequest]) -> dict[str, list[WrittenQuestion]]:
    """What the shipped model writes for each chunk; questions are taken once in all."""
    settings = TeacherConfig(min_round_trip_f1=0, leak_f1=2, candidates_per_question=2)
    teacher = LocalTeacher(TextModel.load("mini"), settings)
    seen: set[str] = set()
    written: dict[str, list[WrittenQuestion]] = {}
    for request, result in zip(requests, teacher.write(requests), strict=True):
        own = [w for w in result.written if w.question not in seen]
        seen.update(w.question for w in own)
        written[request.text] = own
    return written


def _command(store: str, run: str, endpoint: Endpoint) -> list[str]:
    path = Path(store).parent / "raft.json"
    path.write_text(_config(endpoint.url).model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-m", "data_pipelines", "raft", "--store", store]
    return [*command, "--config", str(path), "--run", run]


def _ours(store: str, run: str, endpoint: Endpoint) -> float:
    began = time.perf_counter()
    _run(_command(store, run, endpoint))
    return time.perf_counter() - began


def _killed(store: str, endpoint: Endpoint) -> dict[str, Any]:
    """What a run brings that was killed in its middle and called again."""
    # Other distractors, so that nothing is left of the timed run; small batches, so that some are
    # done when the run is killed.
    other = ["random_distractor_share=0.5", "workers.batch_chunks=8"]
    whole = [*_command(store, "whole", endpoint), *other]
    _run(whole)
    broken = [*_command(store, "broken", endpoint), *other]
    endpoint.asked.clear()
    endpoint.answered.clear()
    child = subprocess.Popen(broken, start_new_session=True, stdout=subprocess.DEVNULL)
    half = CHUNKS * (1 + QUESTIONS) // 2
    while len(endpoint.answered) < half and child.poll() is None:
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    killed, before = time.monotonic(), endpoint.asked.copy()
    told = {prompt for at, prompt in endpoint.answered if at < killed - SETTLED_S}
    _run(broken)
    files = [Path(store, "raft", run, "train.parquet").read_bytes() for run in ("whole", "broken")]
    twice = [prompt for prompt, count in endpoint.asked.items() if count > 1]
    return {
        "same_bytes": files[0] == files[1],
        "requests_before_kill": before.total(),
        f"answered_{SETTLED_S:g}_s_before_kill": len(told),
        "of_those_asked_again": len(told.intersection(twice)),
        "requests_in_all": endpoint.asked.total(),
        "requests_twice": len(twice),
    }


def _our_faults(store: str, run: str) -> Counter[str]:
    rows = [
        row
        for side in ("train", "validation")
        for row in pq.read_table(f"{store}/raft/{run}/{side}.parquet").to_pylist()
    ]
    return _faults(
        (row["question"], [p["text"] for p in row["passages"]], row["completion"]) for row in rows
    )


def _peer_faults(rows: Sequence[dict[str, Any]]) -> Counter[str]:
    return _faults(
        (row["question"], row["context"]["sentences"][0], row["cot_answer"].split(PEER_ANSWER)[0])
        for row in rows
    )


def _faults(rows: Any) -> Counter[str]:
    """Counts of rows, of valid ones, and of what is wrong with the others."""
    found: Counter[str] = Counter(rows=0, valid=0)
    seen: set[str] = set()
    for question, shown, reasoning in rows:
        faults = {
            "duplicate_question": question in seen,
            "document_twice": len(set(shown)) < len(shown),
            "wrong_count": len(shown) != DISTRACTORS + 1,
            "quotes_what_is_not_shown": not all(
                any(quote.strip() in text for text in shown) for quote in _QUOTE.findall(reasoning)
            ),
        }
        seen.add(question)
        found.update(name for name, wrong in faults.items() if wrong)
        found.update(["rows"] if any(faults.values()) else ["rows", "valid"])
    return found


def _peer_python(folder: Path) -> str:
    """The peer's interpreter: GORILLA_PYTHON, or a new environment with what it imports."""
    if given := os.environ.get("GORILLA_PYTHON"):
        return given
    _run([sys.executable, "-m", "venv", str(folder / "venv")])
    _run([str(folder / "venv/bin/pip"), "install", "-q", *PEER_PACKAGES])
    return str(folder / "venv/bin/python")


def _peer(
    python: str, peer: Path, folder: Path, chunks: Sequence[str], endpoint: Endpoint
) -> list[dict[str, Any]]:
    out = folder / "peer"
    texts = folder / "chunks.json"
    texts.write_text(json.dumps(list(chunks)), encoding="utf-8")
    save = (
        "import json, sys, datasets; datasets.Dataset.from_dict({'chunk': json.load(open("
        "sys.argv[1]))}).save_to_disk(sys.argv[2])"
    )
    _run([python, "-c", save, str(texts), f"{out}-checkpoints/chunks"])
    env = {**os.environ, "OPENAI_BASE_URL": endpoint.url, "OPENAI_API_KEY": "unused"}
    env.pop("PYTHONPATH", None)
    options = {
        "--datapath": str(texts), "--output": str(out), "--doctype": "txt",
        "--distractors": str(DISTRACTORS), "--p": str(GOLDEN_FRACTION),
        "--questions": str(QUESTIONS), "--workers": str(PEER_WORKERS), "--completion_model": "m",
    }  # fmt: skip
    command = [python, "raft.py", *(text for pair in options.items() for text in pair)]
    subprocess.run(command, cwd=peer, env=env, check=True, stdout=subprocess.DEVNULL)
    lines = Path(f"{out}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
