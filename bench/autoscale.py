"""How soon autoscaling helps: from a step of load to the first answer of an extra replica.

The service with the shipped model and the shipped autoscaling against the same with Ray's defaults
(load told every 10 s, averaged over 30 s, lasting 30 s). Each generator's replica writes down when
it first answers. Beside it: the first answer of a service whose generator slept.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

import serve.scaling
from bench.harness import FULL, report
from bench.service import Post, example_store, own_ray, own_service, read_lines, write_line
from rayraft.protocols import GeneratedPiece, GenerateRequest
from serve.app import compose
from serve.config import AppConfig
from serve.deployments import Generator

CLIENTS = 12
GIVE_UP_S = 180
FIRSTS = "RAYRAFT_BENCH_FIRSTS"
RAYS_OWN = {"METRICS_INTERVAL_S": 10.0, "LOOK_BACK_S": 30.0, "upscale_delay_s": 30.0}
"""Defaults of `ray.serve.config.AutoscalingConfig` in Ray 2.60."""


class MarkedGenerator(Generator):
    """A generator that writes down its process and when it gave its first answer."""

    _answered = False

    async def generate(self, request: GenerateRequest) -> GeneratedPiece:
        """As the generator's."""
        made = await super().generate(request)
        if not self._answered:
            self._answered = True
            write_line(Path(os.environ[FIRSTS]), (os.getpid(), time.perf_counter()))
        return made


def main() -> None:
    """Runs the bench."""
    rounds = 3 if FULL else 1
    ours: list[float] = []
    rays: list[float] = []
    with tempfile.TemporaryDirectory() as folder, example_store() as store:
        os.environ[FIRSTS] = str(Path(folder) / "firsts.jsonl")
        with own_ray():
            woken = seconds_to_wake(store)
            for _ in range(rounds):
                ours.append(seconds_to_extra(store, 1.0))
                with rays_defaults():
                    rays.append(seconds_to_extra(store, RAYS_OWN["upscale_delay_s"]))
    report(
        "autoscale",
        f"from 0 to {CLIENTS} clients at once, target 2 requests a replica: seconds to the first "
        "answer of the second replica",
        "s",
        {"rayraft": ours, "Ray's defaults": rays, "bar": [10.0]},
        ["ray", "torch"],
        more_is_better=False,
        notes={"first answer of a generator that slept, s": round(woken, 1)},
    )


@contextmanager
def rays_defaults() -> Iterator[None]:
    """Serve is told Ray's own intervals for as long as the block."""
    names = ("METRICS_INTERVAL_S", "LOOK_BACK_S")
    shipped = {name: getattr(serve.scaling, name) for name in names}
    for name in names:
        setattr(serve.scaling, name, RAYS_OWN[name])
    try:
        yield
    finally:
        for name, value in shipped.items():
            setattr(serve.scaling, name, value)


def config_of(store: str, **scale: Any) -> AppConfig:
    """A service whose generator has these replicas, each with one thread."""
    room = {"num_cpus": 0.2, "target_ongoing_requests": 2, **scale}
    return AppConfig.model_validate({"store": store, "generator": {"threads": 1, "scale": room}})


def seconds_to_extra(store: str, upscale_delay_s: float) -> float:
    """From the step of load to the first answer of the second replica."""
    firsts = Path(os.environ[FIRSTS])
    firsts.unlink(missing_ok=True)
    config = config_of(store, max_replicas=2, upscale_delay_s=upscale_delay_s)
    with own_service(compose(config, MarkedGenerator)) as url:
        httpx2.post(f"{url}{Post.chats().path}", json=Post.chats().bodies[0], timeout=60)
        time.sleep(3)
        began = time.perf_counter()
        asyncio.run(_step(url, lambda: len(read_lines(firsts)) > 1))
        return max(at for _, at in read_lines(firsts)) - began


async def _step(url: str, reached: Any) -> None:
    """Clients that ask one question after the other until it is reached."""
    chats, deadline = Post.chats(), time.monotonic() + GIVE_UP_S
    async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:

        async def ask(number: int) -> None:
            while not reached():
                if time.monotonic() > deadline:
                    raise SystemExit(f"no extra replica answered within {GIVE_UP_S} s")
                await http.post(chats.path, json=chats.bodies[number % len(chats.bodies)])
                number += CLIENTS

        await asyncio.gather(*(ask(number) for number in range(CLIENTS)))


def seconds_to_wake(store: str) -> float:
    """The first answer of a service without a generator's replica."""
    config = config_of(store, min_replicas=0, max_replicas=1, downscale_delay_s=0.5)
    with own_service(compose(config, MarkedGenerator)) as url:
        began = time.perf_counter()
        chats = Post.chats()
        httpx2.post(f"{url}{chats.path}", json=chats.bodies[0], timeout=120).raise_for_status()
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
