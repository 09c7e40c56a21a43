"""The report as Markdown: the tables of a README. Pure."""

from collections.abc import Mapping
from typing import Any

from train.compare.measured import PHASE_TITLES, PHASES
from train.compare.report import rounded
from train.compare.tables import (
    NO_BREAK_EVEN,
    ages_table,
    confidence_table,
    judge_table,
    load_table,
    quantiles,
    shown_break_even,
    table,
    taught_note,
    with_interval,
)

Report = Mapping[str, Any]
MEASURES = {
    "token_f1": "token F1",
    "exact_match": "exact match",
    "rouge_l": "ROUGE-L",
    "support": "quoted",
    "hallucination": "hallucinated",
    "recall_at_k": "recall@k",
}
"""Measure -> the title of its column."""
NOTES = (
    "Intervals are 95%, bootstrapped over questions. *quoted*: of the answers given, those that a "
    "verified quote holds. *hallucinated*: of all questions, those answered wrongly (token F1 "
    "below 0.5) without such a quote. *abstain*: precision / recall of saying that there is no "
    "answer."
)


def markdown(report: Report) -> str:
    """All tables."""
    title = f"knowledge base version {report['kb_version']}, {report['n']} questions"
    parts = {
        f"# Which to use: {title}": advice_lines(report["advice"]),
        "## Arms": [*_arms_table(report), "", NOTES],
        "## By the judge": judge_table(report),
        "## Latency, cost": [*_costs_table(report), *_break_even(report)],
        "## Latency under load": load_table(report),
        "## Token F1 by kind of question": _kinds_table(report),
        "## Token F1 by age of the documents": ages_table(report),
        "## How sure, how right": confidence_table(report),
        "## Differences": _differences_table(report),
        "## After an update of the documents": _update_table(report) if report["update"] else [],
        "## What is shown": _robustness_table(report["robustness"]) if report["robustness"] else [],
        "## What must stay hidden": _security_table(report) if report["security"] else [],
    }
    texts = ["\n".join([title, "", *lines]) for title, lines in parts.items() if lines]
    return "\n\n".join([*texts, _made_on(report)]) + "\n"


def advice_lines(advice: Mapping[str, Any]) -> list[str]:
    """The recommendation in words."""
    lines = [f"**Recommended: {advice['arm'] or 'no arm keeps all needs'}**", ""]
    lines += [f"- because: {reason}" for reason in advice["because"]]
    others = [name for name in advice["as_good"] if name != advice["arm"]]
    if others:
        lines.append(f"- as good by the paired bootstrap: {', '.join(others)}")
    lines += [f"- out: {arm} ({'; '.join(why)})" for arm, why in advice["excluded"].items()]
    lines += [f"- another advice {change}" for change in advice["changes"]]
    return lines


def shown_measures(report: Report) -> list[str]:
    """ROUGE-L only where answers are long."""
    return [name for name in MEASURES if name != "rouge_l" or report["long_answers"]]


def _arms_table(report: Report) -> list[str]:
    names = shown_measures(report)
    rows = []
    for name, arm in report["arms"].items():
        cells = [with_interval(arm["token_f1"], arm["ci95"]["token_f1"])]
        cells += [rounded(arm[measure]) for measure in names[1:]]
        said = arm["abstention"]
        cells.append(f"{rounded(said['precision'])} / {rounded(said['recall'])}")
        rows.append([f"`{name}`", arm["title"], *cells])
    found = report["retrieval"]
    lines = table(["arm", "what it is", *(MEASURES[n] for n in names), "abstain"], rows)
    measured = (
        f"Retrieval, {found['n']} questions with gold documents: recall@k "
        f"{rounded(found['recall_at_k'])}, nDCG@10 {rounded(found['ndcg_at_10'])}, "
        f"MRR {rounded(found['reciprocal_rank'])}."
    )
    return [*lines, "", measured]


def _costs_table(report: Report) -> list[str]:
    currency = report["config"]["prices"]["currency"]
    rows = []
    for name, arm in report["arms"].items():
        cost = report["costs"][name]
        stage = arm["latency_ms"].get("retrieve", {}).get("p50")
        rows.append(
            [
                f"`{name}`",
                quantiles(arm["latency_ms"]),
                f"{rounded(stage, 0)} + {arm['latency_ms']['generate']['p50']:.0f}",
                f"{arm['prompt_tokens']:.0f} + {arm['completion_tokens']:.0f}",
                f"{arm['memory_mb']:.0f}",
                f"{cost['index_seconds']:.0f}",
                f"{cost['examples_seconds']:.0f} + {cost['training_seconds']:.0f}",
                f"{cost['once']:.4f}",
                f"{cost['thousand_answers']:.4f}",
            ]
        )
    header = [
        "arm",
        "p50 / p95 / p99 ms",
        "search + write ms",
        "tokens in + out",
        "memory MB",
        "index s",
        "examples + training s",
        f"once, {currency}",
        f"1,000 answers, {currency}",
    ]
    return table(header, rows)


def _break_even(report: Report) -> list[str]:
    found = shown_break_even(report)
    if not found:
        return ["", NO_BREAK_EVEN]
    said = [f"`{b['to']}` from {b['answers']:,} answers on, against `{b['from']}`" for b in found]
    return ["", "Break-even, by cost alone: " + "; ".join(said) + "."]


def _kinds_table(report: Report) -> list[str]:
    arms = report["arms"]
    kinds = sorted({kind for arm in arms.values() for kind in arm["kinds"]})
    rows = []
    for kind in kinds:
        n = next(arm["kinds"][kind]["n"] for arm in arms.values() if kind in arm["kinds"])
        cells = [rounded(arm["kinds"].get(kind, {}).get("token_f1")) for arm in arms.values()]
        rows.append([kind or "(none)", str(n), *cells])
    return table(["kind", "n", *(f"`{name}`" for name in arms)], rows)


def _differences_table(report: Report) -> list[str]:
    rows = [
        [
            f"`{d['arm']}` - `{d['than']}`",
            f"{d['mean']:+.3f} ({d['ci95'][0]:+.3f} to {d['ci95'][1]:+.3f})",
            "yes" if d["ci95"][0] > 0 or d["ci95"][1] < 0 else "no",
        ]
        for d in report["differences"]
        if report["advice"]["arm"] in (None, d["arm"], d["than"])
    ]
    return table(["arms", "token F1, paired", "told apart"], rows)


def _update_table(report: Report) -> list[str]:
    update = report["update"]
    phases = [phase for phase in PHASES if phase in update["quality"]]
    changes = sorted({c for arm in update["quality"]["before"].values() for c in arm})
    lines = [
        f"{update['n']} affected questions; documents written in {update['ingest_seconds']:.1f} s, "
        f"index followed in {update['delta_seconds']:.2f} s"
        + "".join(
            f", {role} adapter refreshed in {r['seconds']:.0f} s "
            f"({'promoted' if r['promoted'] else 'not promoted'})"
            for role, r in update["refreshes"].items()
        )
        + ". Token F1 (exact match):",
        "",
    ]
    rows = []
    for arm, seconds in update["right_again_s"].items():
        for change in changes:
            cells = []
            for phase in phases:
                own = update["quality"][phase][arm].get(change, {})
                f1, exact = rounded(own.get("token_f1")), rounded(own.get("exact_match"))
                cells.append(f"{f1} ({exact})")
            again = "-" if change != "changed" else "no" if seconds is None else f"{seconds:.1f} s"
            rows.append([f"`{arm}`", change, *cells, again])
    titles = [PHASE_TITLES[phase] for phase in phases]
    lines = [taught_note(report), "", *lines] if taught_note(report) else lines
    return lines + table(["arm", "facts", *titles, "right again after"], rows)


def _robustness_table(robustness: Mapping[str, Any]) -> list[str]:
    arms = list(next(iter(robustness.values())))
    rows = []
    for condition, by_arm in robustness.items():
        cells = [
            f"{rounded(by_arm[arm]['token_f1'])} ({rounded(by_arm[arm]['abstained'])})"
            for arm in arms
        ]
        rows.append([condition, *cells])
    return ["Token F1 (share abstained):", "", *table(["shown", *(f"`{a}`" for a in arms)], rows)]


def _security_table(report: Report) -> list[str]:
    arms = list(report["arms"])
    rows = []
    for attempt, shares in report["security"].items():
        n = max(share["n"] for share in shares.values())
        cells = [f"{shares[arm]['share']:.0%}" if arm in shares else "-" for arm in arms]
        rows.append([attempt, str(n), *cells])
    header = ["attempt", "n", *(f"`{arm}`" for arm in arms)]
    return ["Share of answers that held the secret, or obeyed:", "", *table(header, rows)]


def _made_on(report: Report) -> str:
    on = report["machine"]
    return (
        f"Measured in {report['seconds']:.0f} s on {on.get('cpu', '?')}, {on.get('cpus', '?')} "
        "CPUs; each process answers one question at a time. Answers given before are reused."
    )
