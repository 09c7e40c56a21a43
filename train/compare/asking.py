"""Tasks to rows on Ray Data; an answer that was given before is not asked for again.

The answers of a workspace are kept by a digest of all that decides them, so a comparison that was
interrupted, or that gets another arm, asks only what is missing.
"""

import asyncio
import resource
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data

from data_pipelines.progress import Advance, no_progress
from data_pipelines.published_adapters import PublishedAdapter
from data_pipelines.raft_staging import Staging
from data_pipelines.ray_tables import from_tables
from data_pipelines.resources import count_actors
from data_pipelines.retrieval import HybridRetriever
from rayraft.answering import AnswerSettings, answer
from rayraft.models.base_files import base_digest
from rayraft.prompt_budget import PromptBudget
from rayraft.prompts import prompt_digest
from rayraft.protocols import AskRequest, GeneratedPiece, GenerateRequest
from rayraft.records import Question, digest
from rayraft.writing import Writer, write
from train.compare.arms import ARMS, GOLDEN, PROBES, SEARCH, Arm, Role
from train.compare.conditions import REWORDED, Staged, retrieve_under, reworded
from train.compare.rows import RANKED, ArmRow, Task, answered_row, searched_row
from train.evaluate_config import EvaluateConfig

BY_NAME: dict[str, Arm] = {arm.name: arm for arm in (*ARMS, *PROBES, SEARCH, GOLDEN)}
ANSWERS = "answers"
"""Folder of a workspace."""


@dataclass(frozen=True)
class Desk:
    """Where questions are asked: one version of one store, and the adapters of the roles."""

    store: str
    kb_version: int
    adapters: Mapping[Role, PublishedAdapter]
    config: EvaluateConfig
    other_answers: tuple[str, ...] = ()

    def key(self, task: Task) -> str:
        """Changes with everything that decides the answer."""
        arm = BY_NAME[task.arm]
        adapter = self.adapters.get(arm.adapter) if arm.adapter else None
        settings = self.config.model_dump(
            mode="json",
            exclude={"modes", "adapter", "adapter_closed_book", "actors", "golden_distractors"},
        )
        deciding = [
            arm.mode,
            (adapter.manifest.files, adapter.manifest.kb_version) if adapter else None,
            base_digest(self.config.base_model),
            prompt_digest(),
            self.kb_version,
            task.model_dump(exclude={"arm"}),
            settings,
            list(self.other_answers) if task.condition == "contradicting" else None,
        ]
        return digest(deciding)


def ask_all(desk: Desk, tasks: Sequence[Task], progress: Advance = no_progress) -> list[ArmRow]:
    """The row of every task, in their order. Ray must be running.

    Raises:
        ConfigError: An actor needs more than this machine has.
    """
    keys = [desk.key(task) for task in tasks]
    kept = Staging(desk.store, "all", folder=ANSWERS, id_name="key")
    rows = {key: row["row"] for key, row in kept.rows().items()}
    missing = {k: t for k, t in zip(keys, tasks, strict=True) if k not in rows}
    done = len(tasks) - len(missing)
    try:
        for key, row in _asked(desk, missing):
            kept.add({"key": key, "row": row})
            rows[key] = row
            done += 1
            progress(done, len(tasks))
    finally:
        kept.flush()
    found = [ArmRow.model_validate_json(rows[key]) for key in keys]
    # Arms with the same mode and adapter share an answer: each row says whose it is.
    return [
        row.model_copy(update={"arm": task.arm}) for row, task in zip(found, tasks, strict=True)
    ]


def _asked(desk: Desk, tasks: Mapping[str, Task]) -> Iterator[tuple[str, str]]:
    if not tasks:
        return
    config = desk.config
    actors = min(workers(config), -(-len(tasks) // 4))
    keys = list(tasks)
    parts = np.array_split(np.arange(len(keys)), min(len(keys), actors * 16))
    blocks = [
        pa.table(
            {"key": [keys[i] for i in p], "task": [tasks[keys[i]].model_dump_json() for i in p]}
        )
        for p in parts
    ]
    dataset = from_tables(blocks).map_batches(
        AskingActor,
        fn_constructor_args=(desk, sorted({task.arm for task in tasks.values()})),
        batch_size=8,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=config.cpus_per_actor,
        num_gpus=config.gpus_per_actor or None,
    )
    for row in dataset.iter_rows():
        yield str(row["key"]), str(row["row"])


def workers(config: EvaluateConfig) -> int:
    """Processes that answer side by side.

    Raises:
        ConfigError: One of them needs more than this machine has.
    """
    return count_actors(
        config.actors,
        f"cpus_per_actor={config.cpus_per_actor:g}, gpus_per_actor={config.gpus_per_actor:g}",
        cpus=config.cpus_per_actor,
        gpus=config.gpus_per_actor,
    )


class Asker:
    """Answers tasks in this process, one at a time."""

    def __init__(self, desk: Desk, retriever: HybridRetriever, model: Writer) -> None:
        self._desk, self._retriever, self._model = desk, retriever, model
        config = desk.config
        self._settings = AnswerSettings(PromptBudget(config.max_prompt_tokens), mix=config.mix)
        self._staged = Staged(config.k, config.seed, list(desk.other_answers))

    def row(self, task: Task) -> ArmRow:
        """The measured answer to one task."""
        cpu = time.process_time()
        row = self._searched(task) if task.arm == SEARCH.name else self._answered(task)
        used = round(time.process_time() - cpu, 4)
        return row.model_copy(update={"cpu_s": used, "memory_mb": peak_memory_mb()})

    def _searched(self, task: Task) -> ArmRow:
        began = time.perf_counter()
        k = max(self._desk.config.k, RANKED)
        asked = task.question
        (found,) = self._retriever.search([asked.question], k, groups=tuple(asked.groups))
        milliseconds = (time.perf_counter() - began) * 1000
        return searched_row(task, found, self._desk.config.k, milliseconds)

    def _answered(self, task: Task) -> ArmRow:
        arm, asked = BY_NAME[task.arm], task.question
        adapter = self._desk.adapters.get(arm.adapter) if arm.adapter else None
        named = adapter.reference.adapter_id if adapter else None
        remembers = arm.mode in ("closed_book", "blend")  # what answers there without passages
        other_words = task.condition == REWORDED
        request = AskRequest(
            question=reworded(asked.question) if other_words else asked.question,
            mode=arm.mode,
            adapter=named if remembers else None,
            k=self._desk.config.k,
            groups=tuple(asked.groups),
            max_new_tokens=self._desk.config.max_new_tokens,
        )
        retrieve = retrieve_under(task.condition, asked, self._retriever, self._staged)
        default = adapter.reference if adapter and not remembers else None
        given = answer(request, retrieve, self._generate, default, self._settings)
        return answered_row(task, asyncio.run(given))

    async def _generate(self, request: GenerateRequest) -> AsyncIterator[GeneratedPiece]:
        out = write(self._model, request)
        sure = getattr(out, "mean_logprob", None)
        yield GeneratedPiece(out.text, out.prompt_tokens, out.completion_tokens, sure)


class AskingActor:
    """One worker: retriever, model and adapters, loaded once and warmed up."""

    def __init__(self, desk: Desk, arms: Sequence[str]) -> None:
        from train.models_to_ask import load_models

        roles = {BY_NAME[name].adapter for name in arms}
        adapters = [adapter.ref for role, adapter in desk.adapters.items() if role in roles]
        retriever, model = load_models(desk.store, desk.kb_version, desk.config, adapters)
        self._asker = Asker(desk, retriever, model)
        # The first call of every arm allocates and compiles: it is nobody's latency.
        for name in arms:
            question = Question(id="warm-up", question="Is it warm?", answers=[])
            self._asker.row(Task(arm=name, question=question))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Batch function: columns `key` and `task` (JSON) to `key` and `row` (JSON)."""
        tasks = [Task.model_validate_json(text) for text in batch["task"]]
        rows = [self.row(task).model_dump_json() for task in tasks]
        return {"key": [str(key) for key in batch["key"]], "row": rows}

    def row(self, task: Task) -> ArmRow:
        """The measured answer to one task."""
        return self._asker.row(task)

    def ready(self) -> None:
        """Returns once everything is loaded."""


def peak_memory_mb() -> float:
    """The most resident memory that this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1))
