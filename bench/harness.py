"""What the benches share: turns, medians, the table and the result file."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
FULL = os.environ.get("SIZE") == "full"
"""`SIZE=full make bench NAME=...` is the reported size."""


def in_turn(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run in each round, all of them once a round, after a warm-up round.

    In turn, so that a machine that slows down slows all of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - began)
            print(f"round {number}/{rounds} {name}", file=sys.stderr)
    return seconds


def report(  # noqa: PLR0913
    name: str,
    work: str,
    unit: str,
    figures: Mapping[str, list[float]],
    packages: list[str],
    more_is_better: bool,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Prints the table and writes `results/<name>.json`; the first of `figures` is ours."""
    medians = {who: statistics.median(values) for who, values in figures.items()}
    ours, *peers = medians
    best = max(peers, key=lambda who: medians[who] if more_is_better else -medians[who])
    ratio = medians[ours] / medians[best] if more_is_better else medians[best] / medians[ours]
    table = Table(title=f"{name}: {work}", title_justify="left")
    for column in ("", unit, "least", "most"):
        table.add_column(column, justify="left" if not column else "right")
    for who, values in figures.items():
        table.add_row(who, *(f"{v:,.1f}" for v in (medians[who], min(values), max(values))))
    Console().print(table)
    print(f"ours against the best peer ({best}): {ratio:.2f}x")
    record = {
        "name": name,
        "work": work,
        "unit": unit,
        "ours": medians[ours],
        "peers": {who: medians[who] for who in peers},
        "ratio_to_best": round(ratio, 3),
        "spread": {who: [min(values), max(values)] for who, values in figures.items()},
        "notes": dict(notes or {}),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "command": f"{'SIZE=full ' if FULL else ''}make bench NAME={name}",
    }
    write_result(record)


def write_result(record: Mapping[str, Any]) -> None:
    """The record as `results/<its name>.json`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{record['name']}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def machine() -> str:
    """Processor and cores in words."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = found[0] if found else model
        flags = next((line for line in lines if line.startswith("flags")), "")
        kinds = [kind for kind in ("amx_bf16", "avx512_bf16") if kind in flags]
        model += f" ({', '.join(kinds)})" if kinds else ""
    return f"{len(os.sched_getaffinity(0))} cores of {model}"
