"""The report of a refresh, for people and for programs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from train.refresh import Refreshed


def report_files(refreshed: "Refreshed") -> dict[str, bytes | Path]:
    """`report.json` and `report.md`."""
    return {
        "report.json": (json.dumps(asdict(refreshed), indent=1) + "\n").encode(),
        "report.md": ("\n".join(report_lines(refreshed)) + "\n").encode(),
    }


def report_lines(refreshed: "Refreshed") -> list[str]:
    """The report as Markdown, a line each."""
    if refreshed.verdict is None:
        return [
            f"Nothing to do: {refreshed.champion} has learned all that can be learned of knowledge "
            f"base version {refreshed.kb_version} and of people's feedback."
        ]
    verdict = refreshed.verdict
    champion = refreshed.champion or "the base model"
    since = "from the beginning" if refreshed.since is None else f"since version {refreshed.since}"
    counts = ", ".join(f"{count} {name}" for name, count in refreshed.examples.items())
    outcome = "was promoted" if verdict.promote else f"was not promoted, {champion} stays"
    lines = [
        f"# Refresh to knowledge base version {refreshed.kb_version}",
        "",
        f"**{refreshed.challenger} {outcome}**: {'; '.join(verdict.reasons)}.",
        "",
        f"- Changes {since}; examples: {counts}.",
        f"- {refreshed.questions} questions, {champion} against {refreshed.challenger}, "
        f"{refreshed.seconds:.0f} s in all.",
        "",
        "| questions | mode | n | champion | challenger | difference (95% interval) |",
        "|---|---|---|---|---|---|",
    ]
    for one in refreshed.comparisons:
        low, high = one.ci95
        lines.append(
            f"| {one.name} | {one.mode} | {one.questions} | {one.champion:.3f} | "
            f"{one.challenger:.3f} | {one.difference:+.3f} ({low:+.3f} to {high:+.3f}) |"
        )
    return lines
