"""`python -m bench.formats DATA`: how well real files are read, by format.

DATA is a folder with `manifest.jsonl`, one object a file: `path`, `format`, and `groundtruth_md`,
the path of the Markdown that is expected of it, where there is one. Similarity is the F1 of the
words, and of the pairs of neighbouring words, of what was read and what was expected: the second
also sees a wrong order. Markup does not count.
"""

import json
import re
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import mean

from data_pipelines.config import ReadingConfig
from data_pipelines.readers import read_file
from data_pipelines.sources import SUFFIXES, SourceFile
from rayraft.records import Document

_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|<!--.*?-->", re.DOTALL)


@dataclass
class Format:
    """What was seen of one format."""

    files: int = 0
    read: int = 0
    seconds: float = 0.0
    words: list[float] = field(default_factory=list)
    pairs: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def words(text: str) -> list[str]:
    """Words in small letters, without the targets of links and comments."""
    return re.findall(r"\w+", _LINK.sub(r" \1 ", text).lower())


def f1(read: Counter[object], expected: Counter[object]) -> float:
    """F1 of two bags; 1 for two empty ones."""
    if not read and not expected:
        return 1.0
    both = sum((read & expected).values())
    return 2 * both / (sum(read.values()) + sum(expected.values()))


def measure(data: Path, config: ReadingConfig) -> dict[str, Format]:
    """Reads every file of the manifest that is of a known kind."""
    formats: dict[str, Format] = defaultdict(Format)
    for line in (data / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        path = data / row["path"]
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            formats["(other)"].files += 1
            continue
        one = formats[suffix]
        one.files += 1
        began = time.perf_counter()
        found = list(read_file(SourceFile(str(path), path.name), config))
        one.seconds += time.perf_counter() - began
        documents = [item for item in found if isinstance(item, Document)]
        one.read += bool(documents)
        one.reasons += [f"{row['path']}: {x.reason}" for x in found if not isinstance(x, Document)]
        if row.get("groundtruth_md") and documents:
            expected = words((data / row["groundtruth_md"]).read_text(encoding="utf-8"))
            text = words("\n".join(document.text for document in documents))
            one.words.append(f1(Counter(text), Counter(expected)))
            one.pairs.append(f1(Counter(pairwise(text)), Counter(pairwise(expected))))
            if "--all" in sys.argv:
                print(f"{one.words[-1]:.2f} {one.pairs[-1]:.2f} {row['path']}")
    return formats


def main() -> None:
    """Prints the table."""
    if len(sys.argv) < 2:
        raise SystemExit("python -m bench.formats DATA [--reasons] [--all]")
    formats = measure(Path(sys.argv[1]), ReadingConfig(timeout_s=120))
    print("| format | files | read | not read | s a file | compared | words F1 | pairs F1 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, one in sorted(formats.items()):
        if name == "(other)":
            print(f"| other kinds | {one.files} | - | - | - | - | - | - |")
            continue
        scores = f"{mean(one.words):.3f} | {mean(one.pairs):.3f}" if one.words else "- | -"
        print(
            f"| {name} | {one.files} | {one.read} | {one.files - one.read} "
            f"| {one.seconds / one.files:.2f} | {len(one.words)} | {scores} |"
        )
    if "--reasons" in sys.argv:
        print("\n".join(reason for one in formats.values() for reason in one.reasons))


if __name__ == "__main__":
    main()
