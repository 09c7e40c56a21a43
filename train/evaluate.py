"""Evaluation on Ray Data: questions flow, actors answer one at a time, a report is published."""

import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

from data_pipelines import artifacts
from data_pipelines.kb import KnowledgeBase
from data_pipelines.progress import Advance, no_progress
from data_pipelines.ray_tables import from_tables
from data_pipelines.resources import count_actors
from data_pipelines.runs import new_run
from data_pipelines.stores import store_uri
from rayraft.answering import AnswerSettings
from rayraft.errors import InputError
from rayraft.manifests import Manifest
from rayraft.models.base_files import base_digest
from rayraft.prompt_budget import PromptBudget
from rayraft.prompts import prompt_digest
from rayraft.records import Question, digest
from train.answerer import Answerer, AskSettings
from train.eval_rows import EvalRow, rows_table
from train.evaluate_adapters import ChosenAdapters, choose_adapters
from train.evaluate_config import EvaluateConfig
from train.report import Figures, make_report, markdown


@dataclass(frozen=True)
class Evaluation:
    """A published evaluation."""

    run: str
    uri: str
    report: Figures


@dataclass(frozen=True)
class EvaluationPlan:
    """All that is settled before the first answer: nothing in it changes while questions run."""

    store: str
    kb_version: int
    questions: Sequence[Question]
    config: EvaluateConfig
    run: str
    adapters: ChosenAdapters


def evaluate(
    store: str,
    questions: Sequence[Question],
    config: EvaluateConfig,
    run: str | None = None,
    progress: Advance = no_progress,
) -> Evaluation:
    """Answers every question in every mode and publishes `<store>/evals/<run>/`.

    Raises:
        InputError: There is no question.
        NotFoundError: No knowledge base, no such adapter, or none for mode raft.
        ArtifactMismatch: An adapter does not fit the base model or the prompts.
        ConfigError: An actor needs more than this machine has.
    """
    return run_evaluation(plan_evaluation(store, questions, config, run), progress)


def plan_evaluation(
    store: str, questions: Sequence[Question], config: EvaluateConfig, run: str | None = None
) -> EvaluationPlan:
    """Version and adapters for all answers: what is the latest now. Needs no Ray.

    Raises:
        InputError: There is no question.
        NotFoundError: No knowledge base, no such adapter, or none for mode raft.
        ArtifactMismatch: An adapter does not fit the base model or the prompts.
    """
    if not questions:
        raise InputError("questions: none given")
    version = KnowledgeBase.open(store).version
    adapters = choose_adapters(store, config)
    name = new_run(store, "eval", run, version)
    return EvaluationPlan(store_uri(store), version, questions, config, name, adapters)


def run_evaluation(plan: EvaluationPlan, progress: Advance = no_progress) -> Evaluation:
    """Answers, scores and publishes what was planned.

    Raises:
        ConfigError: An actor needs more than this machine has.
    """
    began = time.perf_counter()
    config = plan.config
    tasks = [(question, mode) for mode in config.modes for question in plan.questions]
    wanted = count_actors(
        config.actors,
        f"cpus_per_actor={config.cpus_per_actor:g}, gpus_per_actor={config.gpus_per_actor:g}",
        cpus=config.cpus_per_actor,
        gpus=config.gpus_per_actor,
    )
    actors = min(wanted, len(plan.questions))
    rows = []
    for row in _answers(plan, tasks, actors):
        rows.append(row)
        progress(len(rows), len(tasks))
    report = make_report(rows, config.modes, plan.kb_version, config.seed)
    report["config"] = config.model_dump(mode="json")
    report["seconds"] = round(time.perf_counter() - began, 1)
    report["method"] = (
        f"Each of {actors} processes (one torch thread each, side by side on the same machines) "
        "asks one question at a time: latency is that of one client per process, queueing and "
        "HTTP not counted."
    )
    return _publish(plan.store, plan.run, rows, report)


def _publish(store: str, run: str, rows: Sequence[EvalRow], report: Figures) -> Evaluation:
    table = io.BytesIO()
    pq.write_table(rows_table(rows), table)
    config = report["config"]
    ref = artifacts.publish(
        store,
        "eval",
        run,
        {
            "rows.parquet": table.getvalue(),
            "report.json": (json.dumps(report, indent=1, allow_nan=False) + "\n").encode(),
            "report.md": markdown(report).encode(),
        },
        Manifest(
            kind="eval",
            made_from=sorted({f"adapters/{row.adapter}" for row in rows if row.adapter}),
            kb_version=report["kb_version"],
            base_model=config["base_model"],
            base_digest=base_digest(config["base_model"]),
            prompt_digest=prompt_digest(),
            data_digest=digest(
                sorted((row.question_id, row.question, row.answers) for row in rows)
            ),
            config=config,
        ),
    )
    return Evaluation(run, ref.uri, report)


def _answers(
    plan: EvaluationPlan, tasks: Sequence[tuple[Question, str]], actors: int
) -> Iterator[EvalRow]:
    texts = [question.model_dump_json() for question, _ in tasks]
    modes = [mode for _, mode in tasks]
    # Small blocks: the slowest actor then holds up the end by a few questions only.
    parts = np.array_split(np.arange(len(tasks)), min(len(tasks), actors * 16))
    blocks = [
        pa.table({"question": [texts[i] for i in part], "mode": [modes[i] for i in part]})
        for part in parts
    ]
    dataset = from_tables(blocks).map_batches(
        EvaluateActor,
        # Not the questions: each actor gets its own with the rows.
        fn_constructor_args=(plan.store, plan.kb_version, plan.config, plan.adapters),
        batch_size=8,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=plan.config.cpus_per_actor,
        num_gpus=plan.config.gpus_per_actor or None,
    )
    for row in dataset.iter_rows():
        yield EvalRow.model_validate_json(row["row"])


class EvaluateActor:
    """One worker: retriever, model and adapters, loaded once and warmed up."""

    def __init__(
        self, store: str, version: int, settings: EvaluateConfig, chosen: ChosenAdapters
    ) -> None:
        from train.models_to_ask import load_models

        adapters = [adapter.ref for adapter in chosen.distinct()]
        retriever, model = load_models(store, version, settings, adapters)
        self._answerer = Answerer(
            retriever,
            model,
            AskSettings(
                k=settings.k,
                max_new_tokens=settings.max_new_tokens,
                golden_distractors=settings.golden_distractors,
                seed=settings.seed,
                adapter=chosen.raft.reference if chosen.raft else None,
                closed_book_adapter=chosen.closed_book.reference if chosen.closed_book else None,
                answering=AnswerSettings(
                    PromptBudget(settings.max_prompt_tokens),
                    mix=settings.mix,
                    learned=chosen.router,
                    mu=settings.mu,
                ),
            ),
        )
        # The first call of every mode allocates and compiles: it is nobody's latency.
        for mode in settings.modes:
            self._answerer.row(Question(id="warm-up", question="Is it warm?", answers=[]), mode)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Batch function: columns `question` (JSON) and `mode` to `row` (JSON)."""
        rows = [
            self._answerer.row(Question.model_validate_json(question), str(mode))
            for question, mode in zip(batch["question"], batch["mode"], strict=True)
        ]
        return {"row": [row.model_dump_json() for row in rows]}
