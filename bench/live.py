"""How soon a running service follows a step of load (one more generator) and a promotion.

`STORE=<folder> QUESTIONS=<file>`; a copy of the store gets two adapters with random weights,
between which promotions go. No peer: the bars are 10 s from the step to a second replica that
takes requests, and 5 s from a promotion to the last answer by the adapter before it. `SETTINGS`
(with spaces between) reach the server, as `api.scale.min_replicas=2`.
"""

import asyncio
import itertools
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
import ray.serve

from bench.harness import machine, write_result
from bench.random_models import publish_adapters
from bench.request_load import http_client
from bench.servers import ours, running
from rayraft.questions import read_questions
from serve.app import APP_NAME

STEPS, CLIENTS, STEP_LIMIT_S, IDLE_S = 3, 16, 90, 5
PROMOTIONS, WATCH_S = 6, 12
SETTINGS = (
    "generator.scale.max_replicas=2",
    f"generator.scale.downscale_delay_s={IDLE_S}",
    *os.environ.get("SETTINGS", "").split(),
)


def generators() -> int:
    """Generator replicas that take requests."""
    found = ray.serve.status().applications[APP_NAME].deployments["Generator"]
    return sum(n for state, n in found.replica_states.items() if str(state).endswith("RUNNING"))


async def keep_asking(
    url: str, model: str, questions: list[str], until: asyncio.Event, say: Any
) -> None:
    """`CLIENTS` clients, each asking its next question when the last is answered."""
    work = itertools.cycle(questions)

    async def client() -> None:
        while not until.is_set():
            began = time.perf_counter()
            messages = [{"role": "user", "content": next(work)}]
            body = {"model": model, "messages": messages, "max_tokens": 48}
            answer = await asked.post("/v1/chat/completions", json=body)
            if answer.status_code == 200:
                say(began, answer.json())
            else:
                await asyncio.sleep(0.2)

    async with http_client(url) as asked:
        await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def load_steps(url: str, questions: list[str]) -> list[float]:
    """Seconds from the first of the clients to a second replica."""
    seconds = []
    for _ in range(STEPS):
        over, began = asyncio.Event(), time.perf_counter()
        load = asyncio.create_task(
            keep_asking(url, "rayraft/rag", questions, over, lambda *_: None)
        )
        while await asyncio.to_thread(generators) < 2:
            if time.perf_counter() - began > STEP_LIMIT_S:
                raise SystemExit(f"no second replica within {STEP_LIMIT_S} s")
            await asyncio.sleep(0.1)
        seconds.append(time.perf_counter() - began)
        print(f"second replica after {seconds[-1]:.1f} s", flush=True)
        over.set()
        await load
        while await asyncio.to_thread(generators) > 1:
            await asyncio.sleep(0.5)
    return seconds


async def promotions(url: str, questions: list[str], adapters: list[str]) -> list[float]:
    """Seconds from each promotion to the beginning of the last request by another adapter."""
    async with http_client(url) as client:
        seconds = []
        for name, _ in zip(itertools.cycle(adapters), range(PROMOTIONS), strict=False):
            seen: list[tuple[float, str]] = []

            def say(began: float, answer: Any, seen: list[tuple[float, str]] = seen) -> None:
                seen.append((began, answer["rayraft"]["adapter"]))

            over = asyncio.Event()
            load = asyncio.create_task(keep_asking(url, "rayraft/raft", questions, over, say))
            await asyncio.sleep(2)
            (await client.post(f"/v1/adapters/{name}/promote")).raise_for_status()
            promoted = time.perf_counter()
            await asyncio.sleep(WATCH_S)
            over.set()
            await load
            after = [(began, used) for began, used in seen if began > promoted]
            stale = [began for began, used in after if used != name]
            if not after or after[-1][1] != name:
                raise SystemExit(f"{name} does not answer {WATCH_S} s after its promotion")
            seconds.append(max(stale, default=promoted) - promoted)
            print(f"{name}: {seconds[-1]:.1f} s, {len(after)} answers", flush=True)
    return seconds


def main() -> None:
    """Runs the bench."""
    questions = [q.question for q in read_questions(os.environ["QUESTIONS"], limit=100)]
    ray.init(address="local", num_cpus=2, include_dashboard=False, namespace="serve")
    address = {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    with tempfile.TemporaryDirectory() as name:
        store = str(shutil.copytree(os.environ["STORE"], Path(name) / "store"))
        with running(ours(store, *SETTINGS, environment=address), Path(name)) as url:
            steps = asyncio.run(load_steps(url, questions))
        ray.serve.shutdown()  # type: ignore[no-untyped-call]  # it would keep the first one's port
        adapters = publish_adapters(store, "mini", 2)
        with running(ours(store, *SETTINGS, environment=address), Path(name)) as url:
            promoted = asyncio.run(promotions(url, questions, adapters))
    ray.shutdown()
    record: dict[str, Any] = {
        "name": "live",
        "work": f"{CLIENTS} clients; `rag`, generators from 1 to 2; `raft`, promotions between two",
        "second_replica_s": {"p50": statistics.median(steps), "all": steps},
        "promotion_s": {"most": max(promoted), "all": promoted},
        "machine": machine(),
    }
    print(json.dumps(record, indent=1))
    write_result(record)


if __name__ == "__main__":
    main()
