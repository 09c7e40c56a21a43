"""The service's parts one by one, with fakes: batching, engine, following, adapters, access."""

import asyncio
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_pipelines.artifacts import ArtifactRef
from data_pipelines.published_adapters import PublishedAdapter
from rayraft.errors import ConfigError, InputError, NotFoundError, VersionTimeout
from rayraft.manifests import Manifest
from rayraft.protocols import AdapterRef
from rayraft.records import Document
from serve.access import check_may_replace, read_document
from serve.adapters import AdapterCatalog, find_adapter
from serve.batching import Batcher
from serve.config import AppConfig, ScaleConfig, WriterConfig, deployment_options
from serve.engine import TextEngine
from serve.follower import Follower
from serve.run_file import SHIPPED, read_run_file
from tests.ray.serve_store import make_store

PROMPT = [{"role": "user", "content": "hi"}]


# --- batching ---------------------------------------------------------------------------------


def run_batches(calls, max_batch_size=4, run=None):
    """(batches as run, results) of concurrent `calls` of (key, item)."""
    batches = []

    async def default(key, items):
        batches.append((key, list(items)))
        await asyncio.sleep(0.01)
        return [item * 10 for item in items]

    async def go():
        batcher = Batcher(run or default, max_batch_size)
        return await asyncio.gather(
            *(batcher.submit(key, item) for key, item in calls), return_exceptions=True
        )

    return batches, asyncio.run(go())


def test_concurrent_calls_share_a_batch_and_get_their_own_result():
    batches, results = run_batches([("a", n) for n in range(4)])
    assert batches == [("a", [0, 1, 2, 3])]
    assert results == [0, 10, 20, 30]


def test_batches_never_mix_keys_nor_exceed_the_size():
    calls = [("a" if n % 2 else "b", n) for n in range(12)]
    batches, results = run_batches(calls, max_batch_size=3)
    assert results == [n * 10 for _, n in calls]
    assert all(len(items) <= 3 for _, items in batches)
    assert all({("a" if n % 2 else "b") for n in items} == {key} for key, items in batches)
    assert len(batches) == 4


def test_a_failed_batch_fails_its_callers_and_nobody_else():
    async def run(key, items):
        if key == "bad":
            raise InputError("no")
        return items

    _, results = run_batches([("bad", 1), ("good", 2), ("bad", 3)], run=run)
    assert isinstance(results[0], InputError) and isinstance(results[2], InputError)
    assert results[1] == 2


def test_a_caller_that_went_away_costs_no_work():
    ran = []

    async def run(key, items):
        ran.extend(items)
        await asyncio.sleep(0.02)
        return items

    async def go():
        batcher = Batcher(run, 1)
        first = asyncio.create_task(batcher.submit("a", 1))
        left = asyncio.create_task(batcher.submit("a", 2))
        last = asyncio.create_task(batcher.submit("a", 3))
        await asyncio.sleep(0.005)
        left.cancel()
        return await first, await last

    assert asyncio.run(go()) == (1, 3)
    assert ran == [1, 3]


# --- engine -----------------------------------------------------------------------------------


@dataclass
class Output:
    text: str
    prompt_tokens: int = 1
    completion_tokens: int = 1


class FakeModel:
    base_digest = "fake"

    def __init__(self):
        self.batches, self.adapters, self.threads, self.pieces_given = [], [], set(), 0
        self.fails = False

    def load_adapter(self, name, path):
        self.adapters.append(name)

    def unload_adapter(self, name):
        self.adapters.remove(name)

    def generate(self, prompts, *, adapter=None, max_new_tokens=96):
        self.threads.add(threading.current_thread().name)
        self.batches.append((len(prompts), adapter))
        time.sleep(0.02)
        if self.fails:
            raise RuntimeError("device lost")
        return [Output(f"{adapter}:{prompt[0]['content']}") for prompt in prompts]

    def stream(self, prompt, *, adapter=None, max_new_tokens=96):
        for number in range(max_new_tokens):
            self.pieces_given += 1
            time.sleep(0.002)
            if self.fails:
                raise RuntimeError("device lost")
            yield f"{number} "
        yield Output("", prompt_tokens=7, completion_tokens=max_new_tokens)


def with_engine(use, **options):
    model = FakeModel()

    async def go():
        engine = TextEngine(model, lambda m, name: m.load_adapter(name, None), **options)
        try:
            return await use(engine)
        finally:
            engine.close()

    return model, asyncio.run(go())


def prompt(text):
    return [{"role": "user", "content": text}]


def test_engine_batches_what_waits_and_keeps_adapters_apart():
    async def use(engine):
        calls = [engine.generate(prompt(str(n)), "x-v1" if n % 2 else None, 8) for n in range(8)]
        return [piece.text for piece in await asyncio.gather(*calls)]

    model, texts = with_engine(use)
    assert texts == [f"{'x-v1' if n % 2 else None}:{n}" for n in range(8)]
    assert sorted(model.batches, key=str) == [(4, "x-v1"), (4, None)] or len(model.batches) <= 3
    assert len(model.threads) == 1


def test_engine_keeps_the_adapters_used_last():
    async def use(engine):
        for adapter in ("a-v1", "b-v1", "a-v1", "c-v1", None):
            await engine.generate(PROMPT, adapter, 8)

    model, _ = with_engine(use, max_loaded_adapters=2)
    assert model.adapters == ["a-v1", "c-v1"]


def test_a_stream_ends_with_the_token_counts():
    async def use(engine):
        return [piece async for piece in engine.stream(PROMPT, None, 3)]

    _, pieces = with_engine(use)
    assert "".join(piece.text for piece in pieces) == "0 1 2 "
    assert (pieces[-1].prompt_tokens, pieces[-1].completion_tokens) == (7, 3)


def test_leaving_a_stream_stops_the_model():
    async def use(engine):
        stream = engine.stream(PROMPT, None, 1000)
        async for piece in stream:
            assert piece.text == "0 "
            break
        await stream.aclose()
        await engine.generate(PROMPT, None, 1)  # the thread is free again
        return True

    model, _ = with_engine(use)
    assert model.pieces_given < 50


def test_stream_raises_what_the_model_raised():
    async def use(engine):
        engine._model.fails = True
        with pytest.raises(RuntimeError, match="device lost"):
            async for _ in engine.stream(PROMPT, None, 3):
                pass
        with pytest.raises(RuntimeError, match="device lost"):
            await engine.check()
        engine._model.fails = False
        await engine.check()

    with_engine(use)


# --- following --------------------------------------------------------------------------------


class Versions:
    """A knowledge base whose version is set by the test."""

    def __init__(self):
        self.value, self.fails, self.reads = 1, False, 0

    def refresh(self):
        self.reads += 1
        if self.fails:
            raise OSError("storage is away")
        return self.value


@pytest.fixture
def versions():
    return Versions()


@pytest.fixture
def follower(versions):
    follower = Follower(versions.refresh, poll_s=0.02)
    yield follower
    follower.stop()


def test_follower_sees_new_versions_by_itself(versions, follower):
    versions.value = 5
    deadline = time.monotonic() + 5
    while follower.version != 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_waiting_for_a_version_does_not_wait_for_the_next_poll(versions):
    follower = Follower(versions.refresh, poll_s=60)
    versions.value = 2
    start = time.monotonic()
    assert asyncio.run(follower.wait_for(2, timeout_s=30)) == 2
    assert time.monotonic() - start < 10
    follower.stop()


def test_waiting_ends_with_the_numbers_when_the_version_does_not_come(follower):
    with pytest.raises(VersionTimeout, match=r"min_kb_version=9.*at 1 after waiting 0.1 s"):
        asyncio.run(follower.wait_for(9, timeout_s=0.1))
    assert asyncio.run(follower.wait_for(None, 0)) == 1
    assert asyncio.run(follower.wait_for(1, 0)) == 1


def test_follower_survives_a_storage_outage(versions, follower):
    versions.fails = True
    reads = versions.reads
    while versions.reads < reads + 2:
        time.sleep(0.01)
    versions.fails, versions.value = False, 3
    assert asyncio.run(follower.wait_for(3, timeout_s=10)) == 3
    assert follower.is_alive()


# --- adapters ---------------------------------------------------------------------------------


def adapter(name, number, kb_version, method="raft"):
    manifest = Manifest(kind="adapter", kb_version=kb_version, config={"method": method})
    return PublishedAdapter(ArtifactRef("s", "adapter", name, number), manifest)


def test_catalog_follows_what_is_published():
    published: list[PublishedAdapter] = []
    catalog = AdapterCatalog(lambda: published, "latest", poll_s=0.0)
    assert catalog.default() is None
    published += [adapter("a", 1, 3), adapter("a", 2, 4)]
    assert catalog.default() == AdapterRef("a-v2", 4)
    fixed = AdapterCatalog(lambda: published, "a-v1", poll_s=0.0)
    assert fixed.default() == AdapterRef("a-v1", 3)
    assert AdapterCatalog(lambda: published, None, poll_s=0.0).default() is None
    with pytest.raises(NotFoundError, match=r"b-v1.*published: a-v1, a-v2"):
        find_adapter(catalog.adapters(), "b-v1")


def test_an_adapter_trained_without_passages_never_answers_raft_by_itself():
    published = [adapter("memory", 1, 3, "sft")]
    catalog = AdapterCatalog(lambda: published, "latest", poll_s=0.0)
    assert catalog.default() is None
    published[:0] = [adapter("reader", 1, 2)]
    assert catalog.default() == AdapterRef("reader-v1", 2)
    assert catalog.default("memory-v1") == AdapterRef("memory-v1", 3), "named, it is taken"


# --- access -----------------------------------------------------------------------------------


class Documents:
    version = 4

    def __init__(self, *documents):
        self._documents = {document.document_id: document for document in documents}

    def document(self, document_id):
        if document_id not in self._documents:
            raise NotFoundError("none")
        return self._documents[document_id]


def test_restricted_documents_look_like_missing_ones():
    documents = Documents(Document(document_id="pay", text="x", acl=["hr"]))
    assert read_document(documents, "pay", ["hr"]).text == "x"
    with pytest.raises(NotFoundError) as restricted:
        read_document(documents, "pay", [])
    with pytest.raises(NotFoundError) as missing:
        read_document(documents, "gone", [])
    assert str(restricted.value).replace("pay", "gone") == str(missing.value)


def test_nobody_replaces_what_they_may_not_read():
    with pytest.raises(NotFoundError, match="'pay'"):
        check_may_replace(["hr"], "pay", [])
    check_may_replace(["hr"], "pay", ["hr"])
    check_may_replace(None, "new", [])


def test_the_writer_refuses_a_document_that_the_request_may_not_read(small_store):
    from serve.knowledge import Writer

    writer = Writer(WriterConfig(), small_store)
    secret = Document(document_id="secret/bonus.md", text="x")
    with pytest.raises(NotFoundError, match="may replace"):
        asyncio.run(writer.put(secret, ()))
    before = asyncio.run(writer.version())
    assert (
        asyncio.run(writer.put(secret.model_copy(update={"acl": ["board"]}), ("board",))) > before
    )
    assert asyncio.run(writer.put(Document(document_id="it's new", text="x"), ())) > before


# --- configuration ----------------------------------------------------------------------------


def test_shipped_file_is_valid_and_listens_on_loopback_only():
    run = read_run_file(SHIPPED)
    assert (run.host, run.port) == ("127.0.0.1", 8000)
    assert run.app.api.default_groups == [] and not run.app.api.trust_client_groups


def test_every_queue_is_bounded_and_refuses_with_429():
    app = read_run_file(SHIPPED).app
    sections = (app.api, app.answering, app.retriever, app.generator, app.writer)
    scales = [section.scale for section in sections]
    for scale in scales:
        options = deployment_options(scale)
        assert options["max_queued_requests"] > 0
        assert options["backpressure_config"]["status_code"] == 429
    assert sum(scale.num_cpus for scale in scales) <= 2, "must start on two cores"


def test_overrides_and_store_win_over_the_file():
    run = read_run_file(SHIPPED, ["generator.scale.max_replicas=3", "retriever.poll_s=0.1"], "/s")
    assert run.app.generator.scale.max_replicas == 3
    assert run.app.retriever.poll_s == 0.1
    assert run.app.store == "/s"


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("generator.colour=red", "generator.colour"),
        ("retriever.poll_s=0", "retriever.poll_s"),
        ("writer.scale.max_replicas=2", "writer"),
        ("generator.scale.max_replicas=0", "max_replicas"),
        ("nonsense", "nonsense"),
    ],
)
def test_wrong_settings_are_named(override, named):
    with pytest.raises(ConfigError, match=named):
        read_run_file(SHIPPED, [override])


def test_files_that_are_no_serve_configuration_are_refused(tmp_path: Path):
    for text in ("store: x", "applications: []", "applications: [1]", "applications: [{args: 3}]"):
        file = tmp_path / "app.yaml"
        file.write_text(text)
        with pytest.raises(ConfigError, match=r"applications|args"):
            read_run_file(file)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("http_option: {port: 9000}", "unknown key http_option"),
        ("http_options: {prot: 9000}", "unknown key http_options.prot"),
        ("http_options: {port: 70000}", "http_options.port=70000"),
        ("proxy_location: EveryNode", "proxy_location='EveryNode'"),
        ("applications: [{args: {}, runtime_env: {}}]", "unknown key applications.0.runtime_env"),
        ("applications: [{import_path: 'other:app'}]", "applications.0.import_path='other:app'"),
    ],
)
def test_keys_of_a_serve_file_that_would_change_nothing_are_refused(tmp_path: Path, text, named):
    file = tmp_path / "app.yaml"
    file.write_text(text if "applications" in text else f"{text}\napplications: [{{args: }}]")
    with pytest.raises(ConfigError) as refused:
        read_run_file(file)
    assert named in str(refused.value) and "\n" not in str(refused.value)


def test_a_serve_file_says_where_to_listen(tmp_path: Path):
    file = tmp_path / "app.yaml"
    file.write_text("http_options: {host: 0.0.0.0, port: 9000}\napplications: [{args: }]")
    run = read_run_file(file)
    assert (run.host, run.port) == ("0.0.0.0", 9000)


def test_replica_bounds_must_be_in_order():
    with pytest.raises(ValueError, match="max_replicas=1 is below min_replicas=2"):
        ScaleConfig(min_replicas=2, max_replicas=1)
    assert AppConfig().writer.scale.max_replicas == 1


# --- commands ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("parts") / "store")


def cli(*arguments):
    from serve.__main__ import app

    return CliRunner().invoke(app, list(arguments))


def one_line_error(result):
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_missing_store_is_one_clear_line(tmp_path):
    assert "store" in one_line_error(cli("run"))
    assert "run ingest first" in one_line_error(cli("run", "--store", str(tmp_path / "none")))
    assert not (tmp_path / "none").exists()


def test_port_in_use_is_one_clear_line(small_store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = one_line_error(cli("run", "--store", small_store, "--port", str(port)))
    assert f"port {port}" in message and "in use" in message


def test_wrong_setting_is_one_clear_line(tmp_path):
    assert "poll_s" in one_line_error(cli("run", "--store", str(tmp_path), "retriever.poll_s=-1"))
    assert "extra" in one_line_error(cli("run", "extra", "--store", str(tmp_path)))


def test_ask_takes_one_place_to_ask(tmp_path):
    assert "--url" in one_line_error(cli("ask", "Q?", "--store", "a", "--url", "http://b"))
    assert "http://" in one_line_error(cli("ask", "Q?", "--url", "ftp://b"))
    assert "empty" in one_line_error(cli("ask", " ", "--store", str(tmp_path)))


def test_ask_says_when_the_service_is_not_there(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    result = cli("ask", "Q?", "--url", url)
    assert result.exit_code == 1 and result.stderr.count("\n") == 1
    assert str(port) in result.stderr

    monkeypatch.setattr("serve.ask_command.DEFAULT_URL", url)
    by_default = cli("ask", "Q?")
    assert by_default.exit_code == 1 and by_default.stderr.count("\n") == 1
    assert all(text in by_default.stderr for text in (url, "--store", "--url", "rayraft serve"))
