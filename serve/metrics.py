"""What GET /metrics says, in Prometheus's text form: requests, answers by mode, tokens, times.

No label comes from a client: paths are the API's own templates, and adapters are published ones.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rayraft.records import Answer
from serve.outcomes import outcome_of

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_OTHER = "other"


class Metrics:
    """The counters of one replica."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry, by_path = self._registry, ("path",)
        self._requests = Counter(
            "rayraft_http_requests",
            "Requests by path and status.",
            ("path", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "rayraft_http_request_seconds",
            "Time from a request to the end of its answer.",
            by_path,
            buckets=_SECONDS,
            registry=registry,
        )
        self._in_flight = Gauge(
            "rayraft_http_requests_in_flight", "Requests worked on now.", registry=registry
        )
        self._answers = Counter(
            "rayraft_answers",
            "Answers by mode, adapter and outcome: cited, uncited, abstained.",
            ("mode", "adapter", "outcome"),
            registry=registry,
        )
        self._stages = Histogram(
            "rayraft_answer_stage_seconds",
            "Time of each stage of an answer.",
            ("stage",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "rayraft_tokens",
            "Tokens: prompt, completion, embedding, rerank.",
            ("kind",),
            registry=registry,
        )
        self._cache = Counter(
            "rayraft_answer_cache",
            "Answers looked up in the answer cache: miss, exact, semantic.",
            ("outcome",),
            registry=registry,
        )
        self._feedback = Counter(
            "rayraft_feedback", "People's word on answers.", ("verdict",), registry=registry
        )

    def answered(self, answer: Answer) -> None:
        """Counts an answer."""
        self._answers.labels(answer.mode, answer.adapter or "", outcome_of(answer)).inc()
        for stage, ms in answer.timings_ms.items():
            self._stages.labels(stage).observe(ms / 1000)
        if answer.cache is not None:
            self._cache.labels(answer.cache.outcome).inc()
        self.used("prompt", answer.usage.prompt_tokens)
        self.used("completion", answer.usage.completion_tokens)

    def used(self, kind: str, tokens: int) -> None:
        """Counts tokens."""
        self._tokens.labels(kind).inc(tokens)

    def heard(self, verdict: str) -> None:
        """Counts feedback."""
        self._feedback.labels(verdict).inc()

    def began(self) -> float:
        """The time at which a request begins."""
        self._in_flight.inc()
        return time.perf_counter()

    def ended(self, path: str, status: int, began: float) -> None:
        """Counts a request."""
        self._in_flight.dec()
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(time.perf_counter() - began)

    def text(self) -> str:
        """This replica's figures."""
        return generate_latest(self._registry).decode()


class Measured:
    """ASGI middleware that counts every request; the outermost."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on and sees its status."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 499  # the client left before there was an answer

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = self._metrics.began()
        try:
            await self._app(scope, receive, seen)
        finally:
            path = getattr(scope.get("route"), "path", _OTHER)
            self._metrics.ended(path, status, began)


def add_up(texts: Sequence[str]) -> bytes:
    """The figures of all replicas as those of one: every sample is a sum over them."""
    registry = CollectorRegistry()
    registry.register(_Sums(texts))
    return generate_latest(registry)


class _Sums:
    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = defaultdict(dict)
        for family in self._families():
            families.setdefault(family.name, family)
            of_family = sums[family.name]
            for sample in family.samples:
                key = (sample.name, tuple(sample.labels.items()))
                of_family[key] = of_family.get(key, 0.0) + sample.value
        for name, family in families.items():
            merged = Metric(name, family.documentation, family.type)
            for (sample_name, labels), value in sums[name].items():
                merged.add_sample(sample_name, dict(labels), value)
            yield merged

    def _families(self) -> Iterable[Metric]:
        for text in self._texts:
            for family in text_string_to_metric_families(text):
                # When a series began differs by replica: a sum of such times means nothing.
                if not family.name.endswith("_created"):
                    yield family
