"""The documents change, in a copy: what is said before, at once, with the index, after refresh.

| phase | passages | adapters | right answers |
|---|---|---|---|
| `before` | of before | of before | of before |
| `at_once` | of before | of before | of after: the same answers, scored again |
| `after_delta` | of after | of before | of after |
| `after_refresh` | of after | refreshed | of after |
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from data_pipelines import artifacts
from data_pipelines.champions import FOLDER as PROMOTIONS
from data_pipelines.champions import champions
from data_pipelines.config import IngestConfig
from data_pipelines.feedback import add_feedback, read_feedback
from data_pipelines.ingest import stored_chunking
from data_pipelines.ingest_job import run_ingest
from data_pipelines.kb import KnowledgeBase
from data_pipelines.open_retriever import open_retriever
from data_pipelines.progress import Advance
from data_pipelines.published_adapters import PublishedAdapter
from data_pipelines.stores import open_filesystem, write_file
from rayraft.errors import NotFoundError
from rayraft.manifests import sha256
from rayraft.records import digest
from train.compare.arms import Arm, Role
from train.compare.asking import Desk, ask_all
from train.compare.config import CompareConfig
from train.compare.measured import (
    AFTER_DELTA,
    AFTER_REFRESH,
    AT_ONCE,
    BEFORE,
    Updated,
)
from train.compare.plan import ChangedFact, Update, corrections
from train.compare.rows import Task, rescored
from train.compare.workspace import copy_store, mark_whole
from train.refresh import refresh
from train.refresh_config import GateConfig, RefreshConfig

DONE = "update.json"
"""In the copy: what was done to it, and how long it took."""
PARTS = ("kb", "embedders", "adapters", "raft", PROMOTIONS)
"""What of the store is copied."""


def run_update(
    desk: Desk, update: Update, config: CompareConfig, arms: Sequence[Arm], progress: Advance
) -> Updated:
    """All phases; the store of `desk` stays as it is."""
    adapters = {role: a.manifest.files for role, a in desk.adapters.items()}
    parts = {"raft", "reading", "memory", "evaluate", "update"}  # prices and such write nothing
    deciding = config.model_dump(mode="json", include=parts)
    name = f"updated-{digest([update.deleted, _contents(update), adapters, deciding])[:12]}"
    copy, is_new = copy_store(desk.store, desk.store, name, PARTS)
    if is_new:
        write_state(copy, apply_update(copy, update, progress))
        mark_whole(copy)
    before = ask_all(desk, _tasks(update.facts, arms, before=True), progress)
    after = {fact.after.id: fact.after for fact in update.facts}
    version = int(read_state(copy)["kb_version"])
    tasks = _tasks(update.facts, arms, before=False)
    changed = replace(desk, store=copy, kb_version=version)
    rows = {
        BEFORE: before,
        AT_ONCE: [rescored(row, after[row.question.id]) for row in before],
        AFTER_DELTA: ask_all(changed, tasks, progress),
    }
    if config.update.refresh and desk.adapters:
        fresh = {role: _refreshed(copy, config, role, update, progress) for role in desk.adapters}
        rows[AFTER_REFRESH] = ask_all(replace(changed, adapters=fresh), tasks, progress)
    state = read_state(copy)
    return Updated(rows, state["ingest_s"], state["delta_s"], state.get("refreshes", {}))


def _contents(update: Update) -> list[Any]:
    """What the update says, files by their contents."""
    folder = update.documents
    files = sorted(p for p in folder.rglob("*") if p.is_file()) if folder else []
    facts = [fact.model_dump() for fact in update.facts]
    return [facts, [(str(p.relative_to(folder)), sha256(p.read_bytes())) for p in files if folder]]


def apply_update(store: str, update: Update, progress: Advance) -> dict[str, Any]:
    """Writes the changes into the knowledge base; the seconds of ingest and of the index."""
    kb = KnowledgeBase.open(store)
    retriever = open_retriever(kb)
    began = time.perf_counter()
    as_stored = IngestConfig(chunking=stored_chunking(kb))
    if update.documents is not None:
        run_ingest([str(update.documents)], store, as_stored, progress)
    kb.checkout_latest()
    kb.commit(kb.read_chunks(where="false"), update.deleted)
    ingested = time.perf_counter()
    version = retriever.refresh()
    return {
        "kb_version": version,
        "ingest_s": round(ingested - began, 2),
        "delta_s": round(time.perf_counter() - ingested, 3),
        "refreshes": {},
    }


def _refreshed(
    store: str, config: CompareConfig, role: Role, update: Update, progress: Advance
) -> PublishedAdapter:
    """The champion of the role after a refresh, which is done once."""
    state = read_state(store)
    if role not in state["refreshes"]:
        if config.update.taught and not read_feedback(store)[1]:
            add_feedback(store, corrections(update.facts))
        settings = RefreshConfig(
            raft=config.raft,
            train=config.memory if role == "memory" else config.reading,
            evaluate=config.evaluate,
            gate=GateConfig(questions_per_set=config.update.gate_questions),
        )
        began = time.perf_counter()
        done = refresh(store, settings, role, progress=progress)
        state["refreshes"][role] = {
            "seconds": round(time.perf_counter() - began, 1),
            "challenger": done.challenger,
            "promoted": bool(done.verdict and done.verdict.promote),
            "reasons": done.verdict.reasons if done.verdict else ["nothing was new"],
            "examples": done.examples,
        }
        write_state(store, state)
    ref = artifacts.find(store, "adapter", champions(store)[role])
    return PublishedAdapter(ref, artifacts.read_manifest(ref))


def _tasks(facts: Sequence[ChangedFact], arms: Sequence[Arm], before: bool) -> list[Task]:
    return [
        Task(
            arm=arm.name,
            question=fact.before if before else fact.after,
        )
        for arm in arms
        for fact in facts
    ]


def read_state(store: str) -> dict[str, Any]:
    """What was done to a copy.

    Raises:
        NotFoundError: Nothing was.
    """
    filesystem, root = open_filesystem(store)
    try:
        with filesystem.open_input_stream(f"{root}/{DONE}") as stream:
            state: dict[str, Any] = json.loads(bytes(stream.read()))
            return state
    except FileNotFoundError as exc:
        raise NotFoundError(f"{store}/{DONE}: no update was applied") from exc


def write_state(store: str, state: Mapping[str, Any]) -> None:
    """Keeps what was done to a copy."""
    filesystem, root = open_filesystem(store)
    write_file(filesystem, f"{root}/{DONE}", json.dumps(state, indent=1).encode())
