"""Rows and a report of a comparison that nobody ran."""

import random

from data_pipelines.artifacts import ArtifactRef
from data_pipelines.published_adapters import PublishedAdapter
from rayraft.manifests import Manifest
from rayraft.records import Question
from train.compare.ages import Ages
from train.compare.arms import SEARCH, choose_arms
from train.compare.config import CompareConfig
from train.compare.figures import latencies
from train.compare.measured import Indexed, Learned, Measured, Updated
from train.compare.needs import Needs
from train.compare.report import make_report
from train.compare.rows import ArmRow

SKILL = {"base": 0.05, "sft": 0.3, "rag": 0.6, "rag_sft": 0.4, "raft": 0.62, "auto": 0.62}
MILLISECONDS = {"base": 90, "sft": 90, "rag": 350, "rag_sft": 360, "raft": 380, "auto": 370}
ARMS = choose_arms(tuple(SKILL))


def question(i, answers=("two <b>years</b>",)):
    return Question(
        id=f"q{i}",
        question=f"How long is warranty {i}?",
        answers=list(answers),
        gold_ids=[f"d{i}"],
        kind="stable" if i % 2 else "regional",
    )


def row(arm, i, right, seconds=None, asked=None):
    asked = asked or question(i)
    milliseconds = float(seconds * 1000 if seconds else MILLISECONDS[arm])
    return ArmRow(
        arm=arm,
        question=asked,
        prediction=asked.answers[0] if right and asked.answers else "nothing of the kind",
        exact_match=float(right),
        token_f1=float(right),
        rouge_l=float(right),
        supported=right and arm not in ("base", "sft"),
        recall_at_k=None if arm in ("base", "sft") else 1.0,
        answered_by="rag",
        confidence=0.5 + 0.4 * right + (i % 10) / 100,
        prompt_tokens=100,
        completion_tokens=10,
        timings_ms={"generate": milliseconds, "total": milliseconds},
        memory_mb=500.0,
    )


def arm_rows(arm, n=80, skill=None):
    rng = random.Random(7)  # the same questions are hard for every arm
    skill = SKILL[arm] if skill is None else skill
    return [row(arm, i, rng.random() < skill) for i in range(n)]


def learned():
    found = {}
    for role in ("memory", "reading"):
        ref = ArtifactRef("store", "adapter", role, 1)
        adapter = PublishedAdapter(ref, Manifest(kind="adapter"))
        found[role] = Learned(adapter, True, 30.0, 120.0, 2.0, 0.0, 300, 1e5, 4)
    return found


def updated():
    """The memory knows what was; retrieval follows at once, the memory when it is refreshed."""
    right = {
        "before": {"sft", "rag", "raft", "auto"},
        "at_once": set(),
        "after_delta": {"rag", "raft", "auto"},
        "after_refresh": {"sft", "rag", "raft", "auto"},
    }
    rows = {
        phase: [row(arm, i, arm in able) for arm in SKILL for i in range(10)]
        for phase, able in right.items()
    }
    refreshed = {"seconds": 200.0, "promoted": True, "reasons": ["it is better"]}
    return Updated(rows, 4.0, 0.2, {"memory": refreshed, "reading": refreshed})


def loaded(arm):
    """Answers of one arm while others wait, twice as slow."""
    rows = arm_rows(arm, 24)
    waits = {"wait": float(MILLISECONDS[arm]), "total": 2.0 * MILLISECONDS[arm]}
    return [r.model_copy(update={"timings_ms": r.timings_ms | waits}) for r in rows]


def report(needs=None, **changes):
    measured = {
        "kb_version": 3,
        "arms": ARMS,
        "rows": {arm.name: arm_rows(arm.name) for arm in ARMS},
        "searched": [
            row("rag", i, True).model_copy(update={"arm": SEARCH.name, "ndcg_at_10": 0.9})
            for i in range(80)
        ],
        "learned": learned(),
        "updated": updated(),
        "changes": {f"q{i}": "changed" for i in range(10)},
        "robustness": {
            condition: {
                arm: {"n": 8, "token_f1": 0.5, "ci95": (0.3, 0.7), "abstained": 0.1}
                for arm in ("rag", "rag_sft", "raft", "auto")
            }
            for condition in ("as asked", "distractors-0", "distractors-4", "absent")
        },
        "security": {
            "canary, wrong key": {arm: {"share": 0.0, "n": 8} for arm in SKILL},
            "canary after deletion": {
                arm: {"share": 0.25 if arm == "raft" else 0.0, "n": 8} for arm in SKILL
            },
        },
        "load": {
            "clients": 4,
            "workers": 2,
            "n": 24,
            "arms": {
                arm: {"latency_ms": latencies(loaded(arm)), "answers_per_s": 2.5} for arm in SKILL
            },
        },
        "judged": {
            arm: {
                "right": 0.5,
                "ci95": (0.4, 0.6),
                "n": 78,
                "asked": 70,
                "unreadable": 2,
                "failed": 1,
                "agrees_with_f1": 0.9,
            }
            for arm in SKILL
        },
        "ages": Ages(
            "date",
            ["2024-01 to 2024-06", "2025-01 to 2025-03"],
            {f"q{i}": ("2024-01 to 2024-06", "2025-01 to 2025-03")[i % 2] for i in range(80)},
        ),
        "taught": 7,
        "index": Indexed(420, 40.0, 0.5),
        "machine": {"cpu": "a <test>", "cpus": 2},
    }
    return make_report(Measured(**(measured | changes)), CompareConfig(), needs or Needs())
