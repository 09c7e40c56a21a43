"""`python -m bench.reingest CORPUS [DOCUMENTS]`: the cost of a change against that of everything.

CORPUS is a JSONL file of `id`, `title`, `text`; its first DOCUMENTS rows (default 4000; 0 for all)
become one Markdown file each. The whole command is timed, with the start of Python: a first ingest,
one after nothing has changed, and one after a sentence was added to 1 % of the files.
"""

import json
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from rayraft.records import digest


def write_documents(corpus: Path, folder: Path, count: int) -> list[Path]:
    """One file a row."""
    files = []
    with corpus.open(encoding="utf-8") as lines:
        for line in islice(lines, count or None):
            row = json.loads(line)
            name = digest(row["id"])[:16]
            path = folder / name[:2] / f"{name}.md"
            path.parent.mkdir(exist_ok=True)
            title = json.dumps(row.get("title", ""))
            path.write_text(f"---\ntitle: {title}\n---\n{row['text']}\n", encoding="utf-8")
            files.append(path)
    return files


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
    print(done.stdout)
    return time.perf_counter() - began


def main() -> None:
    """Prints the three times."""
    if len(sys.argv) < 2:
        raise SystemExit("python -m bench.reingest CORPUS [DOCUMENTS]")
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 4000
    with tempfile.TemporaryDirectory() as temporary:
        folder, store = Path(temporary) / "documents", Path(temporary) / "store"
        folder.mkdir()
        files = write_documents(Path(sys.argv[1]), folder, count)
        full = ingest(folder, store)
        idle = ingest(folder, store)
        for path in files[::100]:
            path.write_text(path.read_text(encoding="utf-8") + "This was added.\n")
        changed = ingest(folder, store)
    print(f"{len(files)} documents: all {full:.1f} s, nothing changed {idle:.1f} s")
    print(f"{len(files[::100])} changed: {changed:.1f} s, {changed / full:.1%} of all")


if __name__ == "__main__":
    main()
