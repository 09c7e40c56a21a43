"""Learns a router from a published evaluation and publishes it. Needs no Ray and no torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_table import sql_text
from data_pipelines.published_routers import FILE
from data_pipelines.runs import new_run
from rayraft.errors import ArtifactMismatch, NotFoundError
from rayraft.learned_router import LearnedRouter
from rayraft.manifests import Manifest
from rayraft.prompts import prompt_digest
from train.eval_reading import read_eval_rows
from train.report import Figures
from train.router_config import RouterTrainConfig
from train.router_fit import fit
from train.router_outcomes import Outcomes, read_outcomes
from train.router_report import cross_fit, make_router_report, router_markdown

_IDS_AT_A_TIME = 500


@dataclass(frozen=True)
class LearnedRun:
    """A published router."""

    ref: ArtifactRef
    router: LearnedRouter
    report: Figures


def learn_router(
    store: str, run: str | None, config: RouterTrainConfig, name: str | None = None
) -> LearnedRun:
    """Learns from the evaluation `run` (None: the newest) and publishes `<store>/routers/<name>/`.

    Raises:
        NotFoundError: There is no such evaluation.
        InputError: It has too few questions or modes, or a router of this name exists.
        ArtifactMismatch: It was made with other prompts.
    """
    source = artifacts.latest(store, "eval") if run is None else artifacts.find(store, "eval", run)
    made = artifacts.read_manifest(source)
    if made.prompt_digest != prompt_digest():
        raise ArtifactMismatch(f"evaluation {source.name}: made with other prompts; evaluate again")
    if made.base_digest is None or made.kb_version is None:
        raise ArtifactMismatch(f"evaluation {source.name}: says neither base model nor version")
    version = made.kb_version
    title = new_run(store, "router", name, version)

    def texts_of(chunk_ids: Sequence[str]) -> Mapping[str, str]:
        return _texts(store, version, chunk_ids)

    outcomes = read_outcomes(read_eval_rows(source), config, int(made.config.get("k", 4)), texts_of)
    report = make_router_report(outcomes, cross_fit(outcomes, config), config)
    router = _whole(outcomes, config, made, title)
    report["evaluation"] = source.name
    report["config"] = config.model_dump(mode="json")
    report["router"] = _told(router)
    return LearnedRun(_publish(store, source, made, router, report), router, report)


def _whole(
    outcomes: Outcomes, config: RouterTrainConfig, made: Manifest, name: str
) -> LearnedRouter:
    """The router of all questions."""
    fitted = fit(outcomes, np.arange(len(outcomes.question_ids)), config)
    place = outcomes.closed_book
    return LearnedRouter(
        name=name,
        base_digest=made.base_digest or "",
        prompt_digest=prompt_digest(),
        adapter=outcomes.adapter,
        kb_version=outcomes.kb_version,
        k=outcomes.k,
        draft=fitted.draft,
        draft_adapter=None if place is None else outcomes.adapters[place],
        draft_tokens=0.0 if place is None else float(outcomes.tokens[:, place].mean()),
        features=fitted.features,
        arms=fitted.arms,
        levels=fitted.levels,
    )


def _told(router: LearnedRouter) -> Figures:
    return {
        "adapter": router.adapter,
        "draft": router.draft,
        "levels": {name: level.model_dump() for name, level in router.levels.items()},
        "features": [scale.name for scale in router.features],
    }


def _publish(
    store: str, source: ArtifactRef, made: Manifest, router: LearnedRouter, report: Figures
) -> ArtifactRef:
    quality = report["levels"]["quality"]
    return artifacts.publish(
        store,
        "router",
        router.name,
        {
            FILE: (router.model_dump_json(indent=1) + "\n").encode(),
            "report.json": (json.dumps(report, indent=1, allow_nan=False) + "\n").encode(),
            "report.md": router_markdown(report).encode(),
        },
        Manifest(
            kind="router",
            made_from=[f"evals/{source.name}", *(f"adapters/{a}" for a in sorted(router.adapters))],
            kb_version=router.kb_version,
            base_model=made.base_model,
            base_digest=router.base_digest,
            prompt_digest=router.prompt_digest,
            data_digest=made.data_digest,
            config=report["config"],
            metrics={
                "quality": quality["quality"],
                "best_fixed": report["modes"][report["best_fixed"]]["quality"],
                "ece": report["calibration"]["ece"],
            },
        ),
    )


def _texts(store: str, version: int, chunk_ids: Sequence[str]) -> Mapping[str, str]:
    """The chunks' texts in the version that was evaluated; {} where that version is gone."""
    try:
        kb = KnowledgeBase.open(store, version)
    except NotFoundError:
        return {}
    found: dict[str, str] = {}
    for start in range(0, len(chunk_ids), _IDS_AT_A_TIME):
        ids = ", ".join(sql_text(i) for i in chunk_ids[start : start + _IDS_AT_A_TIME])
        table = kb.read_chunks(["chunk_id", "text"], where=f"chunk_id IN ({ids})")
        found |= dict(zip(*(table[c].to_pylist() for c in ("chunk_id", "text")), strict=True))
    return found
