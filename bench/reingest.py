"""`python -m bench.reingest CORPUS [DOCUMENTS]`: the cost of a change against that of everything.

CORPUS is a JSONL file of `id`, `title`, `text`; its first DOCUMENTS rows (default 4000; 0 for all)
become one Markdown file each, or with `FORM=jsonl` one file of rows. The whole command is timed,
with the start of Python: a first ingest, one after nothing has changed, and one after a sentence
was added to 1 % of the documents. `KEEP=<store>` keeps the knowledge base.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from bench.harness import machine, write_result
from rayraft.jsonl import read_objects
from rayraft.records import digest

EVERY = 100
"""One document of so many is changed."""
ADDED = "This was added."


def write_files(rows: Iterable[dict[str, Any]], folder: Path) -> None:
    """One Markdown file a row; files that are as wanted are not touched."""
    for row in rows:
        name = digest(row["id"])[:16]
        path = folder / name[:2] / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        title = json.dumps(row.get("title", ""))
        text = f"---\ntitle: {title}\n---\n{row['text']}\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def write_jsonl(rows: Iterable[dict[str, Any]], folder: Path) -> None:
    """One file of all rows."""
    lines = (json.dumps(row) + "\n" for row in rows)
    (folder / "documents.jsonl").write_text("".join(lines), encoding="utf-8")


FORMS = {"files": write_files, "jsonl": write_jsonl}


def changed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, some of them with another sentence at the end."""
    return [
        row if number % EVERY else row | {"text": f"{row['text']} {ADDED}"}
        for number, row in enumerate(rows)
    ]


def ingest(folder: Path, store: Path) -> float:
    """Seconds of the command."""
    began = time.perf_counter()
    command = ["ingest", str(folder), "--store", str(store), "--sync"]
    done = subprocess.run(
        [sys.executable, "-m", "data_pipelines", *command],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    print(done.stdout, flush=True)
    return time.perf_counter() - began


def main() -> None:
    """Prints the three times."""
    if len(sys.argv) < 2:
        raise SystemExit("python -m bench.reingest CORPUS [DOCUMENTS]")
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 4000
    form = os.environ.get("FORM", "files")
    if form not in FORMS:
        raise SystemExit(f"error: FORM={form}: must be one of {', '.join(FORMS)}")
    rows = [row for _, row in islice(read_objects(sys.argv[1], "corpus"), count or None)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "documents"
        store = Path(os.environ.get("KEEP", Path(temporary) / "store"))
        if store.exists():
            raise SystemExit(f"error: KEEP={store}: must not be there yet")
        folder.mkdir()
        FORMS[form](rows, folder)
        full = ingest(folder, store)
        idle = ingest(folder, store)
        FORMS[form](changed(rows), folder)
        again = ingest(folder, store)
    altered = -(-len(rows) // EVERY)
    print(f"{len(rows)} documents: all {full:.1f} s, nothing changed {idle:.1f} s")
    print(f"{altered} changed: {again:.1f} s, {again / full:.1%} of all")
    record = {
        "name": f"reingest_{form}",
        "work": f"{len(rows)} documents ({form}), then {altered} of them changed",
        "seconds": {"all": full, "nothing changed": idle, "changed": again},
        "share": again / full,
        "machine": machine(),
    }
    write_result(record)


if __name__ == "__main__":
    main()
