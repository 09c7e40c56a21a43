"""The rule that recommends an arm, over measured figures and stated needs. Pure.

1. An arm is out if it breaks a need: slower than `latency_p95_ms` (under load where that was
   measured); not right again within
   `freshness` after the update (or, where no update was measured, an arm that reads no passages
   while documents change); anything revealed under `privacy=strict`; more than `budget` a month;
   less token F1 than `quality`.
2. Of the others the one with the best token F1 leads. Every arm that the paired bootstrap cannot
   tell from the leader (the 95% interval of the difference reaches 0) is as good as it.
3. Of these the one that costs least in a month is recommended; equal costs go to the faster one.

If nothing is left, the advice says which need excludes most, and recommends nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from train.compare.costs import month_cost
from train.compare.needs import MONTH_S, Needs

Report = Mapping[str, Any]
WITHOUT_NEEDS = ("freshness", "latency_p95_ms", "privacy", "budget", "quality")
VOLUMES = (1_000.0, 100_000.0, 10_000_000.0)


@dataclass(frozen=True)
class Advice:
    """What is recommended and why."""

    arm: str | None
    """None: no arm keeps all needs."""
    because: list[str] = field(default_factory=list)
    """The two figures that decided."""
    excluded: dict[str, list[str]] = field(default_factory=dict)
    """Arm -> the needs that it breaks."""
    as_good: list[str] = field(default_factory=list)
    """Arms that cannot be told from the best one."""
    changes: list[str] = field(default_factory=list)
    """What would change the advice."""


def recommend(report: Report, needs: Needs) -> Advice:
    """The advice, with what would change it."""
    advice = _decide(report, needs)
    return Advice(
        advice.arm,
        advice.because,
        advice.excluded,
        advice.as_good,
        _changes(report, needs, advice.arm),
    )


def _decide(report: Report, needs: Needs) -> Advice:
    arms = report["arms"]
    excluded = {name: broken(report, name, needs) for name in arms}
    excluded = {name: reasons for name, reasons in excluded.items() if reasons}
    left = [name for name in arms if name not in excluded]
    if not left:
        most = min(excluded, key=lambda name: len(excluded[name]))
        return Advice(None, [f"nearest is {most}: {'; '.join(excluded[most])}"], excluded)
    best = max(left, key=lambda name: arms[name]["token_f1"])
    as_good = [name for name in left if name == best or not worse(report, name, best)]
    costs = {name: month(report, name, needs) for name in as_good}
    chosen = min(as_good, key=lambda n: (round(costs[n], 4), slowest(report, n)))
    return Advice(chosen, _because(report, chosen, best, as_good, needs), excluded, as_good)


def broken(report: Report, arm: str, needs: Needs) -> list[str]:
    """The needs that an arm breaks, in words with figures."""
    figures = report["arms"][arm]
    found = [] if figures["token_f1"] > 0 else ["gave no right answer"]
    p95 = slowest(report, arm)
    if needs.latency_p95_ms is not None and p95 > needs.latency_p95_ms:
        found.append(
            f"p95 latency {p95:.0f} ms{under(report)}, at most {needs.latency_p95_ms:g} allowed"
        )
    if (stale := _stale(report, arm, needs)) is not None:
        found.append(stale)
    if needs.privacy == "strict":
        found += _revealed(report, arm)
    cost = month(report, arm, needs)
    if needs.budget is not None and cost > needs.budget:
        found.append(f"{cost:.2f} a month, at most {needs.budget:g} allowed")
    if needs.quality is not None and figures["token_f1"] < needs.quality:
        found.append(f"token F1 {figures['token_f1']:.2f}, at least {needs.quality:g} wanted")
    return found


def slowest(report: Report, arm: str) -> float:
    """p95 of an answer in milliseconds: under load where that was measured, else one at a time."""
    loaded = (report.get("load") or {}).get("arms", {}).get(arm)
    latency = (loaded or report["arms"][arm])["latency_ms"]
    return float(latency["total"]["p95"])


def under(report: Report) -> str:
    """The load of the latencies that decide, in words; empty where it is one at a time."""
    load = report.get("load")
    return f" with {load['clients']} clients" if load else ""


def _stale(report: Report, arm: str, needs: Needs) -> str | None:
    within = needs.right_within_s
    if within is None:
        return None
    update = report.get("update")
    if update is None:
        if report["arms"][arm]["retrieves"]:
            return None
        return "reads no passages while documents change (no update was measured)"
    right = update["right_again_s"].get(arm)
    if right is None:
        return "was not right again after the update, whatever was done"
    if right > within:
        return f"right again {right:.0f} s after a change, at most {within:.0f} allowed"
    return None


def _revealed(report: Report, arm: str) -> list[str]:
    found = []
    for attempt, shares in (report.get("security") or {}).items():
        hidden = "wrong key" in attempt or "after deletion" in attempt
        share = shares.get(arm, {}).get("share", 0.0)
        guessed = shares.get("base", {}).get("share", 0.0) if arm != "base" else share
        if hidden and share > guessed:
            found.append(f"revealed {share:.0%} ({attempt})")
    return found


def month(report: Report, arm: str, needs: Needs) -> float:
    """Money of the first month, with as many refreshes as freshness asks for."""
    within = needs.right_within_s
    refreshes = MONTH_S / max(within, 86_400.0) if within else 0.0
    return month_cost(report["costs"][arm], needs.volume, refreshes)


def worse(report: Report, arm: str, than: str) -> bool:
    """Whether the paired bootstrap tells the two apart."""
    for pair in report["differences"]:
        if (pair["arm"], pair["than"]) == (arm, than):
            return bool(pair["ci95"][1] < 0)
        if (pair["arm"], pair["than"]) == (than, arm):
            return bool(pair["ci95"][0] > 0)
    return True


def _because(
    report: Report, chosen: str, best: str, as_good: Sequence[str], needs: Needs
) -> list[str]:
    arms, currency = report["arms"], report["config"]["prices"]["currency"]
    low, high = arms[chosen]["ci95"]["token_f1"]
    first = f"quality: token F1 {arms[chosen]['token_f1']:.3f} ({low:.2f} to {high:.2f})"
    if chosen != best:
        first += f", not to be told from {best}'s {arms[best]['token_f1']:.3f}"
    others = [name for name in as_good if name != chosen]
    cost = f"{month(report, chosen, needs):.2f} {currency} a month, training and refreshes included"
    if not others:
        ahead = _runner_up(report, chosen)
        return [first, ahead or f"{cost}; no other arm keeps the needs"]
    dearer = min(others, key=lambda name: month(report, name, needs))
    return [first, f"{cost}; {dearer} would cost {month(report, dearer, needs):.2f}"]


def _runner_up(report: Report, chosen: str) -> str | None:
    arms = report["arms"]
    others = [name for name in arms if name != chosen]
    if not others:
        return None
    next_best = max(others, key=lambda name: arms[name]["token_f1"])
    gap = arms[chosen]["token_f1"] - arms[next_best]["token_f1"]
    return f"{gap:+.3f} token F1 against {next_best}, the best of the others"


def _changes(report: Report, needs: Needs, arm: str | None) -> list[str]:
    """Needs dropped one at a time, and other volumes: where the advice would be another."""
    said = []
    free = Needs().model_dump()
    for name in WITHOUT_NEEDS:
        if getattr(needs, name) == free[name]:
            continue
        other = _decide(report, needs.model_copy(update={name: free[name]})).arm
        if other != arm:
            said.append(f"without the need {name}={getattr(needs, name)}: {other}")
    for volume in VOLUMES:
        other = _decide(report, needs.model_copy(update={"volume": volume})).arm
        if other != arm and volume != needs.volume:
            said.append(f"at {volume:,.0f} answers a month: {other}")
    said += _stricter(report, needs, arm)
    return said or ["nothing that was tried: no other volume, and no need left out"]


def _stricter(report: Report, needs: Needs, arm: str | None) -> list[str]:
    if arm is None:
        return []
    said = []
    if needs.freshness == "never":
        other = _decide(report, needs.model_copy(update={"freshness": "daily"})).arm
        if other != arm:
            said.append(f"if answers had to follow the documents daily: {other}")
    p95 = slowest(report, arm)
    faster = needs.model_copy(update={"latency_p95_ms": 0.99 * p95})
    other = _decide(report, faster).arm
    if other not in (arm, None):
        said.append(f"if p95 latency had to be below {0.99 * p95:.0f} ms: {other}")
    return said
