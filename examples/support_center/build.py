"""Builds the example corpus: documents, questions and an update, the same bytes on each run.

Run from the root of the repository:

    python -m examples.support_center.build             # rewrites examples/support_center
    python -m examples.support_center.build --out DIR   # writes a copy elsewhere
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from examples.support_center.sources.changes import (
    BASE_MONTHS,
    base_corpus,
    update_changes,
    updated_corpus,
)
from examples.support_center.sources.combined import combined_questions
from examples.support_center.sources.formats import (
    render_changes,
    render_files,
    render_questions,
    write_files,
)
from examples.support_center.sources.handwritten import (
    handwritten_questions,
    unanswerable_questions,
)
from examples.support_center.sources.prices import price_questions
from examples.support_center.sources.records import ROOT, Question
from examples.support_center.sources.regions import Region, regional_questions
from examples.support_center.sources.treasury import treasury_questions


def base_questions(regions: list[Region]) -> list[Question]:
    """Returns the questions on the corpus before the update."""
    return [
        *handwritten_questions(),
        *regional_questions(regions, 81),
        *treasury_questions(BASE_MONTHS, sheets=14, bulletins=12),
        *price_questions(BASE_MONTHS, lists=10, promotions=8, notes=8),
        *combined_questions(regions),
        *unanswerable_questions(),
    ]


def generated_files() -> dict[str, bytes]:
    """Returns every generated file by its path below the output folder."""
    base, updated = base_corpus(), updated_corpus()
    old, new = render_files(base.sources), render_files(updated.sources)
    kept = {source.document_id for source in updated.sources}
    deleted = sorted(s.document_id for s in base.sources if s.document_id not in kept)
    files = {f"documents/{name}": content for name, content in old.items()}
    files |= {
        f"updates/documents/{name}": content
        for name, content in new.items()
        if old.get(name) != content
    }
    files["questions.jsonl"] = render_questions(base_questions(base.regions))
    files["updates/questions.jsonl"] = render_changes(update_changes())
    files["updates/deleted.txt"] = "".join(f"{name}\n" for name in deleted).encode()
    return files


def main() -> None:
    """Writes the corpus."""
    parser = argparse.ArgumentParser(description="Build the example corpus.")
    parser.add_argument("--out", type=Path, default=ROOT, help="output folder")
    out: Path = parser.parse_args().out
    for folder in ("documents", "updates"):
        shutil.rmtree(out / folder, ignore_errors=True)
    write_files(generated_files(), out)


if __name__ == "__main__":
    main()
