"""Latency under load: clients that each ask the next question as soon as the last is answered.

The answering path is that of every other figure here (`train.compare.asking`), by as many worker
processes as the configuration gives, each of which answers one question at a time: a client whose
question finds all of them busy waits, and the wait is a stage of its own. Not through HTTP, and
without the service's batching of questions.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import ray

from data_pipelines.progress import Advance
from data_pipelines.raft_staging import Staging
from rayraft.records import Question, digest
from train.compare.arms import Arm
from train.compare.asking import AskingActor, Desk, workers
from train.compare.config import LoadSettings
from train.compare.figures import latencies
from train.compare.rows import ArmRow, Task
from train.compare.turns import Turns

MEASURED = "load"
"""Folder of a workspace."""
WAIT = "wait"
FIRST_COME = 1
"""Of how the clients take turns; figures of another way are not reused."""


def run_load(
    desk: Desk,
    arms: Sequence[Arm],
    questions: Sequence[Question],
    settings: LoadSettings,
    progress: Advance,
) -> dict[str, Any]:
    """Clients, workers, and by arm the quantiles of each stage and the answers a second.

    An arm that was measured under the same load before is not measured again.

    Raises:
        ConfigError: A worker needs more than this machine has.
    """
    asked = sorted(questions, key=lambda q: digest(["load", q.id]))[: settings.questions]
    count = workers(desk.config)
    kept = Staging(desk.store, "all", folder=MEASURED, id_name="key")
    tasks = {a.name: [Task(arm=a.name, question=question) for question in asked] for a in arms}
    keys = {
        arm: digest([[desk.key(task) for task in own], settings.clients, count, FIRST_COME])
        for arm, own in tasks.items()
    }
    found = kept.rows()
    missing = [arm for arm, key in keys.items() if key not in found]
    if missing:
        with _pool(desk, missing, count) as free:
            for done, arm in enumerate(missing):
                measured = _under_load(free, tasks[arm], settings.clients)
                found[keys[arm]] = {"key": keys[arm], **measured}
                kept.add(found[keys[arm]])
                kept.flush()
                progress(len(arms) - len(missing) + done + 1, len(arms))
    names = ("latency_ms", "answers_per_s")
    by_arm = {arm: {name: found[key][name] for name in names} for arm, key in keys.items()}
    return {"clients": settings.clients, "workers": count, "n": len(asked), "arms": by_arm}


@contextmanager
def _pool(desk: Desk, arms: Sequence[str], count: int) -> Iterator[Turns[Any]]:
    """Workers that have loaded everything: loading is nobody's latency."""
    config = desk.config
    remote: Any = ray.remote(num_cpus=config.cpus_per_actor, num_gpus=config.gpus_per_actor)
    actor = remote(AskingActor)
    pool = [actor.remote(desk, arms) for _ in range(count)]
    try:
        ray.get([one.ready.remote() for one in pool])
        yield Turns(pool)
    finally:
        for one in pool:
            ray.kill(one)


def _under_load(free: Turns[Any], tasks: Sequence[Task], clients: int) -> dict[str, Any]:
    """One arm's tasks by so many clients."""
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as asking:
        rows = list(asking.map(lambda task: _ask(free, task), tasks))
    seconds = time.perf_counter() - began
    return {"latency_ms": latencies(rows), "answers_per_s": round(len(rows) / seconds, 3)}


def _ask(free: Turns[Any], task: Task) -> ArmRow:
    """One client's question: the first worker that is free answers it."""
    began = time.perf_counter()
    worker = free.take()
    waited = time.perf_counter() - began
    try:
        row: ArmRow = ray.get(worker.row.remote(task))
    finally:
        free.give(worker)
    whole = {WAIT: waited * 1000, "total": (time.perf_counter() - began) * 1000}
    return row.model_copy(update={"timings_ms": row.timings_ms | whole})
