"""Writes sources and questions as files; DOCX and PDF bytes come from `binary`.

Output depends on the sources alone: no clock, no environment, Unix line ends everywhere.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from examples.support_center.sources.binary import render_docx, render_pdf
from examples.support_center.sources.records import Change, Question, Source

Block = tuple[str, str]
"""(kind, text); kind is one of h1, h2, p, ul, ol."""

COMPANY = "Quillane Home support centre"


def blocks(source: Source) -> Iterator[Block]:
    """Yields the title and the blocks of a Markdown body; each list item is a block of its own."""
    yield "h1", source.title
    for paragraph in re.split(r"\n\s*\n", source.body.strip()):
        lines = paragraph.split("\n")
        if paragraph.startswith("## "):
            yield "h2", paragraph[3:]
        elif paragraph.startswith("- "):
            yield from (("ul", line[2:]) for line in lines)
        elif re.match(r"\d+\. ", paragraph):
            yield from (("ol", line.split(". ", 1)[1]) for line in lines)
        else:
            yield "p", " ".join(lines)


def render_markdown(source: Source) -> str:
    """Returns the document as Markdown, its metadata as YAML front matter."""
    front = ""
    if source.metadata:
        front = f"---\n{yaml.safe_dump(source.metadata, sort_keys=True)}---\n"
    return f"{front}# {source.title}\n\n{source.body.strip()}\n"


def render_html(source: Source) -> str:
    """Returns the document as a small HTML page with the header and footer of a web site."""
    parts: list[str] = []
    open_list = ""
    for kind, text in blocks(source):
        wanted = kind if kind in ("ul", "ol") else ""
        if wanted != open_list:
            parts += [f"</{open_list}>"] if open_list else []
            parts += [f"<{wanted}>"] if wanted else []
            open_list = wanted
        tag = "li" if wanted else kind
        parts.append(f"<{tag}>{html.escape(text, quote=False)}</{tag}>")
    parts += [f"</{open_list}>"] if open_list else []
    title = html.escape(source.title, quote=False)
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n<style>body {{ max-width: 40em; margin: auto }}</style>\n"
        f"</head>\n<body>\n<main>\n{body}\n</main>\n<footer>{COMPANY}</footer>\n</body>\n</html>\n"
    )


def json_line(row: dict[str, Any]) -> str:
    """Returns one JSONL line."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def render_row(source: Source) -> str:
    """Returns the document as one JSONL row: id, title, text, then its metadata."""
    text = "\n\n".join(source.body.strip().split("\n\n"))
    return json_line(
        {"id": source.document_id, "title": source.title, "text": text, **source.metadata}
    )


def render(source: Source) -> bytes:
    """Returns the bytes of a file that holds one document, by the suffix of its path."""
    suffix = PurePosixPath(source.file).suffix
    if suffix == ".docx":
        return render_docx(list(blocks(source)))
    if suffix == ".pdf":
        return render_pdf(list(blocks(source)))
    if suffix == ".csv":
        return source.body.encode()
    if suffix == ".html":
        return render_html(source).encode()
    if suffix == ".md":
        return render_markdown(source).encode()
    raise ValueError(f"no writer for {source.file}")


def render_files(sources: Iterable[Source]) -> dict[str, bytes]:
    """Returns the bytes of every file by its path below `documents/`."""
    files: dict[str, bytes] = {}
    for source in sources:
        if source.file.endswith(".jsonl"):
            files[source.file] = files.get(source.file, b"") + render_row(source).encode()
        elif source.file in files:
            raise ValueError(f"two documents share the file {source.file}")
        else:
            files[source.file] = render(source)
    return files


def write_files(files: dict[str, bytes], folder: Path) -> None:
    """Writes `files` below `folder`."""
    for name, content in sorted(files.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def question_row(question: Question, question_id: str) -> dict[str, Any]:
    """Returns a question as a row of `questions.jsonl`."""
    return {
        "id": question_id,
        "question": question.question,
        "answers": question.answers,
        "gold_ids": question.gold_ids,
        "kind": question.kind,
        "groups": question.groups,
    }


def render_questions(questions: list[Question]) -> bytes:
    """Returns `questions.jsonl`; ids count within a kind."""
    lines: list[str] = []
    seen: dict[str, int] = {}
    for question in questions:
        seen[question.kind] = seen.get(question.kind, 0) + 1
        lines.append(json_line(question_row(question, f"{question.kind}-{seen[question.kind]:03}")))
    return "".join(lines).encode()


def render_changes(changes: list[Change]) -> bytes:
    """Returns `updates/questions.jsonl`: the answers after the update, and those before it."""
    lines: list[str] = []
    for number, change in enumerate(changes, start=1):
        row = question_row(change.after, f"update-{number:03}")
        row["change"] = change.change
        row["answers_before"] = change.before.answers
        row["gold_ids_before"] = change.before.gold_ids
        lines.append(json_line(row))
    return "".join(lines).encode()
