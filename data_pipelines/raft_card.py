"""The data card of a RAFT run: what a person should know before training on it."""

from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.raft_examples import RaftConfig
from data_pipelines.raft_reading import SPLITS
from rayraft.records import RaftExample, digest

SAMPLES = 20
"""Examples shown, drawn by their ids and picked by nobody."""
_CHARS = 300
"""Of a passage that is shown."""


def data_card(
    name: str, counts: Mapping[str, Any], examples: Sequence[RaftExample], config: RaftConfig
) -> str:
    """Counts, the settings that decided them, and samples, as Markdown.

    Args:
        name: Of the run.
        counts: Figures of the run by name; `dropped` holds reasons and counts.
        examples: All of the run.
        config: Of the run.
    """
    golden = sum(example.has_golden for example in examples)
    answerable = sum(bool(example.golden_ids) for example in examples)
    documents = {side: {e.document_id for e in examples if e.split == side} for side in SPLITS}
    lines = [
        f"# RAFT examples `{name}`",
        "",
        f"Written by `{counts['teacher']}` from {counts['chunks']} chunks of knowledge base "
        f"version {counts['kb_version']}.",
        "",
        "| | train | validation |",
        "|---|---|---|",
        *(
            f"| {title} | {figure('train')} | {figure('validation')} |"
            for title, figure in (
                ("examples", lambda side: sum(e.split == side for e in examples)),
                ("documents", lambda side: len(documents[side])),
            )
        ),
        "",
        f"- {golden} of {answerable} examples ({_share(golden, answerable)}) show the passage "
        f"that answers; P is {config.golden_fraction:g}. Without it the target is "
        f"`{config.missing_golden}`.",
        f"- {_passages(examples)} passages an example; {config.distractors} distractors are asked "
        f"for, a share of {config.random_distractor_share:g} of them at random. "
        f"{counts['short_of_distractors']} examples have fewer.",
        *_unanswerable(len(examples) - answerable),
        *_several(examples),
        f"- {counts['restricted_chunks']} chunks were left out because access is restricted.",
        "- No document is in both splits. Every quote stands verbatim in a shown passage.",
        "",
        "| left out because | number |",
        "|---|---|",
        *(f"| {reason} | {number} |" for reason, number in counts["dropped"].items()),
        "",
        f"## {min(SAMPLES, len(examples))} samples",
    ]
    for example in sorted(examples, key=lambda e: digest(["card", e.example_id]))[:SAMPLES]:
        lines += ["", *_sample(example)]
    return "\n".join(lines) + "\n"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _unanswerable(number: int) -> list[str]:
    if not number:
        return []
    return [
        f"- {number} further examples have a question that no document answers, and what a search "
        "shows for it: the target is `abstain`, whatever is written without a golden passage."
    ]


def _several(examples: Sequence[RaftExample]) -> list[str]:
    several = [example for example in examples if len(example.golden_ids) > 1]
    if not several:
        return []
    shown = sum(example.has_golden for example in several)
    most = max(len(example.golden_ids) for example in several)
    return [
        f"- {len(several)} examples need several documents, {most} at most; {shown} of them show "
        "all of these and quote from each, the others none."
    ]


def _passages(examples: Sequence[RaftExample]) -> str:
    lengths = [len(example.passages) for example in examples]
    least, most = min(lengths), max(lengths)
    return str(least) if least == most else f"{least} to {most}"


def _sample(example: RaftExample) -> list[str]:
    shown = []
    for passage in example.passages:
        text = " ".join(f"{passage.title}: {passage.text}".split())
        cut = text if len(text) <= _CHARS else text[:_CHARS] + " ..."
        mark = " (golden)" if passage.chunk_id in example.golden_ids else ""
        shown.append(f"- `{passage.chunk_id}`{mark} {cut}")
    return [f"**{example.question}**", "", *shown, "", f"> {example.completion}"]
