"""The hand-written pieces (manuals, policies, internal pages) and their questions.

A piece is a Markdown file below `pieces/`. Manuals and policies become Markdown, PDF, DOCX or HTML
in turn; pages below `internal/` stay Markdown and `notes/` become JSONL rows, so that their `acl`
can be read by a machine.
"""

from __future__ import annotations

import re
from functools import cache

import yaml

from examples.support_center.sources.records import ROOT, Question, Source, load_csv

FORMATS = ["md", "pdf", "docx", "html"]
NOTES_FILE = "internal/notes.jsonl"
Replacements = dict[str, list[tuple[str, str]]]
"""(find, replace) pairs by piece."""


@cache
def piece_names(folder: str) -> list[str]:
    """Returns the pieces below `folder`, such as "manuals/halden-r3-guide", sorted."""
    root = ROOT / folder
    paths = (path.relative_to(root).with_suffix("") for path in root.rglob("*.md"))
    return sorted(path.as_posix() for path in paths)


@cache
def document_ids(folder: str) -> dict[str, str]:
    """Returns the document id of every piece below `folder`."""
    ids: dict[str, str] = {}
    for index, name in enumerate(piece_names(folder)):
        if name.startswith("notes/"):
            ids[name] = name.removeprefix("notes/")
        else:
            suffix = "md" if name.startswith("internal/") else FORMATS[index % len(FORMATS)]
            ids[name] = f"{name}.{suffix}"
    return ids


def piece_source(name: str, folder: str, replacements: Replacements) -> Source:
    """Returns the document of one piece, with the replacements that the update asks for.

    Raises:
        ValueError: If a text to be replaced is not in the piece exactly once.
    """
    text = (ROOT / folder / f"{name}.md").read_text(encoding="utf-8")
    for find, replace in replacements.get(name, []):
        if text.count(find) != 1:
            raise ValueError(f"{name}: {find!r} stands {text.count(find)} times, expected once")
        text = text.replace(find, replace)
    match = re.fullmatch(r"(?:---\n(.*?)---\n)?# (.+?)\n\n(.*)", text, re.DOTALL)
    if match is None:
        raise ValueError(f"{name}: expected front matter, a title and a body")
    front, title, body = match.groups()
    document_id = document_ids(folder)[name]
    file = NOTES_FILE if name.startswith("notes/") else document_id
    return Source(document_id, file, title, body, yaml.safe_load(front) if front else {})


def handwritten_sources(
    replacements: Replacements, deleted: list[str], with_new: bool
) -> list[Source]:
    """Returns the documents of all pieces; the deleted ones are given by document id."""
    folders = ["pieces", "pieces_new"] if with_new else ["pieces"]
    sources = [
        piece_source(name, folder, replacements)
        for folder in folders
        for name in piece_names(folder)
    ]
    return [source for source in sources if source.document_id not in deleted]


def handwritten_questions(folder: str = "pieces") -> list[Question]:
    """Returns the questions on the pieces below `folder`; on internal ones they are restricted."""
    file = "questions.csv" if folder == "pieces" else "questions_new.csv"
    questions: list[Question] = []
    for row in load_csv(file):
        source = piece_source(row["piece"], folder, {})
        groups = source.metadata.get("acl", [])
        kind = "restricted" if groups else "stable"
        questions.append(
            Question(kind, row["question"], [row["answer"]], [source.document_id], groups)
        )
    return questions


def unanswerable_questions() -> list[Question]:
    """Returns plausible questions that no document answers."""
    return [
        Question("unanswerable", row["question"], [], []) for row in load_csv("unanswerable.csv")
    ]
