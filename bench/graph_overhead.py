"""What the graph costs: a whole `rag` request, less the computing of its stages, one client.

Ours alone, against the bar. Search and generation write down when they began and ended, inside
their replicas, by the machine's one monotonic clock; what is left of the client's time is HTTP,
JSON, the hops between replicas, prompts, citations, and waiting.
"""

import itertools
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from bench.harness import FULL, report
from bench.service import (
    Post,
    example_store,
    own_ray,
    own_service,
    read_lines,
    write_line,
)
from rayraft.answering import Retrieved
from serve.app import compose
from serve.config import AppConfig, GeneratorConfig
from serve.deployments import Generator
from serve.engine import LanguageModel
from serve.knowledge import Retriever
from serve.run_file import SHIPPED, read_run_file
from serve.service import Search

BAR_MS = 8.0
SPANS = "RAYRAFT_BENCH_SPANS"


def spans_file() -> Path:
    """Where the replicas write, which inherit the environment."""
    return Path(os.environ[SPANS])


class TimedModel:
    """A model that writes down when it computes."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate_rows(self, *args: Any, **kwargs: Any) -> Any:
        """As the model's."""
        began = time.perf_counter()
        made = self._model.generate_rows(*args, **kwargs)
        write_line(spans_file(), ("generate", began, time.perf_counter()))
        return made


class TimedGenerator(Generator):
    """The generator with such a model."""

    @staticmethod
    def load_model(config: GeneratorConfig) -> LanguageModel:
        """The base model."""
        model: Any = TimedModel(Generator.load_model(config))
        return model  # type: ignore[no-any-return]


class TimedRetriever(Retriever):
    """The retriever that writes down when it searches."""

    def _search(self, search: Search) -> Retrieved:
        began = time.perf_counter()
        found = super()._search(search)
        write_line(spans_file(), ("search", began, time.perf_counter()))
        return found


def main() -> None:
    """Runs the bench."""
    count = 100 if FULL else 20
    with tempfile.TemporaryDirectory() as folder, example_store() as store:
        os.environ[SPANS] = str(Path(folder) / "spans.jsonl")
        config = AppConfig.model_validate(
            {**read_run_file(SHIPPED).app.model_dump(), "store": store}
        )
        with own_ray(), own_service(compose(config, TimedGenerator, TimedRetriever)) as url:
            asked = ask(url, count)
            rows = [split(began, ended, read_lines(spans_file())) for began, ended in asked]
    overhead = [row["overhead"] for row in rows]
    medians = {name: round(statistics.median(row[name] for row in rows), 2) for name in rows[0]}
    report(
        "graph_overhead",
        f"{count} chat requests in mode rag, one client, shipped settings: the client's time less "
        "search and generation",
        "ms, median",
        {"rayraft": overhead, "bar": [BAR_MS]},
        ["ray", "torch"],
        more_is_better=False,
        notes={"medians, ms": medians},
    )


def ask(url: str, count: int) -> list[tuple[float, float]]:
    """When each request began and ended, one after the other; the first ones warm up."""
    post = Post.chats()
    times = []
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as http:
        for body in itertools.islice(itertools.cycle(post.bodies), count + 5):
            began = time.perf_counter()
            http.post(post.path, json=body).raise_for_status()
            times.append((began, time.perf_counter()))
    return times[5:]


def split(began: float, ended: float, spans: list[tuple[str, float, float]]) -> dict[str, float]:
    """One request's milliseconds: each stage, the ways between them, and the overhead."""
    own = {name: (start, end) for name, start, end in spans if began <= start and end <= ended}
    search, generate = own["search"], own["generate"]
    ms = partial(_ms, began)
    computed = ms(search[1]) - ms(search[0]) + ms(generate[1]) - ms(generate[0])
    return {
        "overhead": ms(ended) - computed,
        "until search": ms(search[0]),
        "search": ms(search[1]) - ms(search[0]),
        "search to generate": ms(generate[0]) - ms(search[1]),
        "generate": ms(generate[1]) - ms(generate[0]),
        "after generate": ms(ended) - ms(generate[1]),
    }


def _ms(began: float, at: float) -> float:
    return 1000 * (at - began)


if __name__ == "__main__":
    main()
