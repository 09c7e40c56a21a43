"""What keeps a service healthy, ends its work, and takes it down; no cluster is started."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from rayraft.prompts import Message
from rayraft.protocols import GenerateRequest
from serve.engine import TextEngine
from serve.errors import Unavailable
from serve.follower import Follower
from serve.run_file import SHIPPED, read_run_file

PROMPT: list[Message] = [{"role": "user", "content": "hi"}]


# --- health -----------------------------------------------------------------------------------


class Output:
    text, prompt_tokens, completion_tokens = "x", 1, 1


class SlowModel:
    """Streams a piece every 10 ms; `stuck` holds every piece and batch back."""

    base_digest = "slow"
    reads_at_once = 0

    def __init__(self):
        self.probes, self.stuck = 0, threading.Event()
        self.stuck.set()

    def generate_combined(self, views, combine, *, max_new_tokens=96, wanted=None):
        raise AssertionError("nothing is combined")

    def load_adapter(self, name, path):
        raise AssertionError("no adapter is asked for")

    def unload_adapter(self, name):
        raise AssertionError("no adapter is loaded")

    def read(self, row):
        return None

    def shares_batches(self, adapter):
        return adapter is None

    def open_rows(self, limits):
        return None

    def generate_rows(self, rows):
        self.probes += any(row.on_text is None for row in rows)
        for step in range(max(row.max_new_tokens for row in rows)):
            time.sleep(0.01)
            self.stuck.wait(10)
            for row in rows:
                if row.wanted() and row.on_text and step < row.max_new_tokens:
                    row.on_text("x")
        return [Output() for _ in rows]


async def drain(engine, pieces):
    async for _ in engine.stream(GenerateRequest.of(PROMPT, None, pieces)):
        pass


def with_engine(use, trusted_s):
    model = SlowModel()

    async def go():
        engine = TextEngine(model, lambda m, name: None, trusted_s=trusted_s)
        try:
            return await use(engine, model)
        finally:
            model.stuck.set()
            engine.close()

    return asyncio.run(go())


@pytest.mark.parametrize("trusted_s", [0, 60])
def test_a_busy_engine_is_healthy_before_its_queue_is_done(trusted_s):
    async def use(engine, model):
        streams = [asyncio.create_task(drain(engine, 30)) for _ in range(4)]
        await asyncio.sleep(0.1)
        await engine.check()
        waiting = [stream for stream in streams if not stream.done()]
        await asyncio.gather(*streams)
        await engine.generate(GenerateRequest.of(PROMPT, None, 1))  # behind everything
        return len(waiting), model.probes - 1

    waiting, probes = with_engine(use, trusted_s)
    assert waiting >= 2, "the check came back after the streams"
    # A probe that is given up still has its turn in the engine's thread, and writes one token.
    assert probes == (0 if trusted_s else 1)


def test_an_idle_engine_is_probed():
    async def use(engine, model):
        await engine.check()
        return model.probes

    assert with_engine(use, trusted_s=60) == 1


def test_an_engine_that_finishes_nothing_is_not_healthy():
    async def use(engine, model):
        await drain(engine, 1)
        model.stuck.clear()
        stream = asyncio.create_task(drain(engine, 1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await engine.check()
        model.stuck.set()
        await stream

    with_engine(use, trusted_s=0)


def test_a_defect_while_following_ends_the_follower_and_shows(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    broken = threading.Event()

    def refresh():
        if broken.is_set():
            raise KeyError("a defect")
        return 1

    follower = Follower(refresh, poll_s=0.01)
    assert follower.is_alive()
    broken.set()
    deadline = time.monotonic() + 10
    while follower.is_alive():
        assert time.monotonic() < deadline, "the thread lives and the index stays stale"
        time.sleep(0.01)
    follower.stop()


# --- giving up --------------------------------------------------------------------------------


class Response:
    """A handle's response that never comes, like Ray's: the await alone cancels nothing."""

    def __init__(self):
        self.cancelled = 0

    def cancel(self):
        self.cancelled += 1

    def __await__(self):
        return asyncio.sleep(60).__await__()

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(60)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_request_that_is_given_up_is_cancelled_on_the_replica(streamed):
    # Importing Ray Serve warns, which only a test may do, not the collection.
    from serve.handle_calls import result_of, stream_of

    response = Response()

    async def go():
        async with asyncio.timeout(0.05):
            await (anext(stream_of(response)) if streamed else result_of(response))

    with pytest.raises(TimeoutError):
        asyncio.run(go())
    assert response.cancelled == 1


def test_work_that_a_leaving_replica_gives_up_may_be_tried_again():
    from serve.handle_calls import result_of

    async def go():
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()  # what a call by gRPC raises when it was the other side that gave up
        await result_of(gone)

    with pytest.raises(Unavailable, match="try again"):
        asyncio.run(go())


# --- stopping ---------------------------------------------------------------------------------


@pytest.fixture
def done(monkeypatch):
    """What is called of Ray, in order."""
    import ray
    import ray.serve

    calls, there = [], {"rayraft": None, "somebody-elses": None}
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("ray.shutdown"))
    monkeypatch.setattr(ray.serve, "status", lambda: SimpleNamespace(applications=there))
    monkeypatch.setattr(ray.serve, "shutdown", lambda: calls.append("serve.shutdown"))
    monkeypatch.setattr(ray.serve, "delete", lambda name: calls.append(f"delete {name}"))
    return calls


def test_a_ray_of_our_own_is_taken_down_as_a_whole(done):
    from serve import runner

    runner.stop(started_ray=True)
    assert done == ["serve.shutdown", "ray.shutdown"]


def test_on_a_joined_cluster_only_our_application_goes(done):
    from serve import runner

    runner.stop(started_ray=False)
    assert done == ["delete rayraft"]


@pytest.mark.parametrize(("started", "gone"), [(True, "serve.shutdown"), (False, "delete rayraft")])
def test_a_failed_start_takes_down_what_it_put_up(done, monkeypatch, started, gone):
    import ray

    from serve import runner

    running = iter([False, True])
    monkeypatch.setattr(ray, "is_initialized", lambda: next(running))
    monkeypatch.setattr(runner, "start_ray", lambda namespace: started)

    def fail(run, alone):
        raise RuntimeError("no")

    monkeypatch.setattr(runner, "start", fail)
    with pytest.raises(RuntimeError, match="no"):
        runner.serve_until_stopped(read_run_file(SHIPPED), lambda: None)
    assert done[0] == gone
    assert ("serve.shutdown" in done) is started
