"""Small parts of public question sets for `rayraft compare`: passages, questions to ask and learn.

    python -m bench.compare_sets FOLDER_OF_SETS OUT [wikimix,pubmedqa,apibench,medquad]

A set is `<set>/corpus.jsonl` (id, title, text) and `<set>/queries.<split>.jsonl` (id, question,
answers, gold_ids, meta). A part has all golden passages of its questions and so many others, drawn
by a hash of the ids. pubmedqa has one split; it is divided here by a hash of the ids.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayraft.jsonl import read_objects
from rayraft.records import digest

Row = dict[str, Any]
MOST_WORDS = 90
"""Of an answer of medquad that is learned: longer ones do not fit into a row's completion."""


@dataclass(frozen=True)
class Part:
    """How much of a set is taken."""

    asked: str
    """Split of the questions that are asked."""
    learned: str
    ask: int
    learn: int
    others: int
    """Passages that are golden for none of them."""
    kind: Callable[[Row], str]
    more: Row
    """Fields that every question gets."""
    usable: Callable[[Row], bool] = lambda row: bool(row["answers"] and row["gold_ids"])
    """Which questions may be learned."""


def _source(row: Row) -> str:
    """Of a question of wikimix: the set it comes from, and whether it has an answer."""
    name = str(row["meta"]["set"])
    return name if row["answers"] else f"{name}, unanswerable"


def _short(row: Row) -> bool:
    return bool(row["gold_ids"]) and len(row["answers"][0].split()) <= MOST_WORDS


PARTS = {
    "wikimix": Part("dev", "train", 60, 160, 900, _source, {}),
    "pubmedqa": Part("train", "train", 60, 160, 300, lambda row: str(row["answers"][0]), {}),
    "apibench": Part(
        "dev", "train", 60, 160, 400, lambda row: str(row["meta"]["hub"]), {"any_gold": True}
    ),
    "medquad": Part("dev", "train", 40, 120, 300, lambda row: "", {}, _short),
}


def drawn(rows: Sequence[Row], name: str) -> list[Row]:
    """The rows in an order that chance decided once."""
    return sorted(rows, key=lambda row: digest([name, row["id"]]))


def evenly(rows: Sequence[Row], kind: Callable[[Row], str], count: int) -> list[Row]:
    """So many rows, as evenly by kind as there are some of each."""
    piles: dict[str, list[Row]] = {}
    for row in drawn(rows, "draw"):
        piles.setdefault(kind(row), []).append(row)
    taken: list[Row] = []
    while len(taken) < count and any(piles.values()):
        taken += [piles[name].pop(0) for name in sorted(piles) if piles[name]]
    return taken[:count]


def make_part(folder: Path, out: Path, part: Part) -> str:
    """Writes `corpus.jsonl`, `ask.jsonl` and `learn.jsonl`; how much it is, in words."""
    asked = _read(folder / f"queries.{part.asked}.jsonl")
    learned = asked
    if part.asked == part.learned:
        # By kind there would be as many "maybe" as "yes": here the shares stay as they are.
        asked = drawn(asked, "split")
        ask, rest = asked[: part.ask], asked[part.ask :]
        learn = [row for row in rest if part.usable(row)][: part.learn]
    else:
        learned = _read(folder / f"queries.{part.learned}.jsonl")
        ask = evenly(asked, part.kind, part.ask)
        learn = evenly([row for row in learned if part.usable(row)], part.kind, part.learn)
    corpus = _read(folder / "corpus.jsonl")
    golden = {document for row in [*ask, *learn] for document in row["gold_ids"]}
    others = drawn([row for row in corpus if row["id"] not in golden], "draw")[: part.others]
    passages = [row for row in corpus if row["id"] in golden] + others
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "corpus.jsonl", sorted(passages, key=lambda row: str(row["id"])))
    _write(out / "ask.jsonl", [_question(row, part) for row in ask])
    _write(out / "learn.jsonl", [_question(row, part) for row in learn])
    return f"{len(passages)} of {len(corpus)} passages, {len(ask)} asked, {len(learn)} to learn"


def _question(row: Row, part: Part) -> Row:
    kept = {name: row[name] for name in ("id", "question", "answers", "gold_ids")}
    return kept | {"kind": part.kind(row)} | part.more


def _read(path: Path) -> list[Row]:
    return [values for _, values in read_objects(path, "rows")]


def _write(path: Path, rows: Sequence[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Writes the parts that are named, or all."""
    folder, out, *named = sys.argv[1:]
    for name in named[0].split(",") if named else PARTS:
        print(name, make_part(Path(folder, name), Path(out, name), PARTS[name]), sep=": ")


if __name__ == "__main__":
    main()
