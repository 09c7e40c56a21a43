"""The comparison from end to end; the user's store is copied, and only read."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from data_pipelines.kb import KnowledgeBase
from data_pipelines.progress import Advance
from data_pipelines.runs import new_run
from rayraft.manifests import Manifest
from rayraft.models.base_files import base_digest
from rayraft.prompts import prompt_digest
from rayraft.records import Question, digest
from train.compare.advise import CLOSED, GOLDEN, PASSAGES, Estimate, estimate
from train.compare.ages import question_ages
from train.compare.arms import SEARCH, Arm, choose_arms
from train.compare.asking import Desk, ask_all
from train.compare.config import CompareConfig
from train.compare.html import html
from train.compare.indexing import measure_index
from train.compare.judge import judge_rows, judged_figures
from train.compare.learning import Stores, learn
from train.compare.load import run_load
from train.compare.markdown import markdown
from train.compare.measured import Measured
from train.compare.plan import Request, affected, not_asked, taught_before
from train.compare.report import machine, make_report
from train.compare.robustness import run_robustness
from train.compare.rows import ArmRow, Task
from train.compare.security import plant_restricted, run_security
from train.compare.update import run_update
from train.compare.workspace import copy_store, mark_whole

Stage = Callable[[str], AbstractContextManager[Advance]]
"""Progress of a stage, by its title."""


def compare(request: Request, stage: Stage) -> tuple[str, dict[str, Any]]:
    """Measures every arm and publishes `<store>/comparisons/<run>/`. Ray must be running.

    Returns:
        Where the report is, and the report.

    Raises:
        NotFoundError: No knowledge base, or an arm or adapter that does not exist.
        InputError: The run's name is taken.
    """
    began = time.perf_counter()
    config = request.config
    arms = choose_arms(config.arms)
    source = KnowledgeBase.open(request.store)
    name = new_run(request.store, "comparison", request.run, source.version)
    work = _workspace(request, source.version)
    taught = taught_before(request.update, config)
    with stage("examples and adapters") as advance:
        people = not_asked([*request.learn, *taught], request.questions)
        learned = learn(Stores(request.store, work), config, arms, people, advance)
    desk = Desk(
        work,
        KnowledgeBase.open(work).version,
        {role: own.adapter for role, own in learned.items()},
        config.evaluate,
        tuple(sorted({a for q in request.questions for a in q.answers[:1]})[:200]),
    )
    with stage("answers") as advance:
        rows = ask_all(desk, _tasks(arms, request.questions), advance)
    by_arm = {arm.name: [row for row in rows if row.arm == arm.name] for arm in arms}
    measured = Measured(
        kb_version=source.version,
        arms=arms,
        rows=by_arm,
        searched=[row for row in rows if row.arm == SEARCH.name],
        learned=learned,
        machine=machine(),
        ages=question_ages(source, request.questions, config.date_field),
        taught=len(taught) if learned else 0,
        index=measure_index(work, source, config.evaluate.seed),
        judged=_judged(desk, by_arm, config, stage),
        **_further(request, desk, arms, stage),
        seconds=round(time.perf_counter() - began, 1),
    )
    report = make_report(measured, config, request.needs)
    return _publish(request, name, report).uri, report


def advise(request: Request, progress: Advance) -> Estimate:
    """What the base model's answers to the questions say before any training. Ray must be running.

    Raises:
        NotFoundError: There is no knowledge base.
    """
    work = _workspace(request, KnowledgeBase.open(request.store).version)
    desk = Desk(work, KnowledgeBase.open(work).version, {}, request.config.evaluate)
    asked = {CLOSED: ("base", ""), PASSAGES: ("rag", ""), GOLDEN: ("golden", "golden")}
    tasks = [
        Task(arm=arm, question=question, condition=condition)
        for arm, condition in (*asked.values(), (SEARCH.name, ""))
        for question in request.questions
    ]
    rows = ask_all(desk, tasks, progress)
    by_title = {title: [r for r in rows if r.arm == arm] for title, (arm, _) in asked.items()}
    searched = [row for row in rows if row.arm == SEARCH.name]
    return estimate(by_title, searched, request.needs, request.config)


def _workspace(request: Request, version: int) -> str:
    planted = request.config.security.canaries
    name = f"kb-v{version}-{planted}-canaries"
    work, is_new = copy_store(request.store, request.store, name, ("kb", "embedders"))
    if is_new:
        plant_restricted(work, planted)
        mark_whole(work)
    return work


def _further(request: Request, desk: Desk, arms: Sequence[Arm], stage: Stage) -> dict[str, Any]:
    """What is measured beside the questions themselves, as far as it is asked for."""
    config = request.config
    found: dict[str, Any] = {}
    if request.update is not None:
        update = affected(request.update, config.update.questions)
        with stage("update of the documents") as advance:
            found["updated"] = run_update(desk, update, config, arms, advance)
        found["changes"] = {fact.after.id: fact.change for fact in update.facts}
    if config.robustness.questions:
        with stage("robustness") as advance:
            found["robustness"] = run_robustness(
                desk, arms, request.questions, config.robustness, advance
            )
    if config.load.questions:
        with stage("load") as advance:
            found["load"] = run_load(desk, arms, request.questions, config.load, advance)
    counts = config.security.canaries, config.security.injections
    if any(counts):
        with stage("security") as advance:
            found["security"] = run_security(desk, arms, request.questions, counts, advance)
    return found


def _judged(
    desk: Desk, by_arm: Mapping[str, Sequence[ArmRow]], config: CompareConfig, stage: Stage
) -> dict[str, Any] | None:
    settings = config.judge
    if settings.base_url is None:
        return None
    with stage("verdicts of the judge") as advance:
        rows = [row for own in by_arm.values() for row in own]
        judged = judge_rows(desk.store, rows, settings, advance)
    seed = config.evaluate.seed
    return {arm: judged_figures(own, judged, settings, seed) for arm, own in by_arm.items()}


def _tasks(arms: Sequence[Arm], questions: Sequence[Question]) -> list[Task]:
    return [
        Task(arm=arm.name, question=question) for arm in (*arms, SEARCH) for question in questions
    ]


def _publish(request: Request, name: str, report: dict[str, Any]) -> ArtifactRef:
    config = request.config
    files: dict[str, bytes | Path] = {
        "report.json": (json.dumps(report, indent=1) + "\n").encode(),
        "report.md": markdown(report).encode(),
        "report.html": html(report).encode(),
    }
    manifest = Manifest(
        kind="comparison",
        made_from=[f"kb@{report['kb_version']}"],
        kb_version=report["kb_version"],
        base_model=config.evaluate.base_model,
        base_digest=base_digest(config.evaluate.base_model),
        prompt_digest=prompt_digest(),
        data_digest=digest([question.model_dump() for question in request.questions]),
        config=config.model_dump(mode="json"),
    )
    return artifacts.publish(request.store, "comparison", name, files, manifest)
