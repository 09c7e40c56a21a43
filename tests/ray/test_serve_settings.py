"""The service's settings, and its commands where they are wrong."""

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rayraft.errors import ConfigError
from serve.config import AppConfig
from serve.run_file import SHIPPED, read_run_file
from serve.scaling import ScaleConfig, deployment_options
from tests.ray.serve_store import make_store

PROMPT = [{"role": "user", "content": "hi"}]


def test_shipped_file_is_valid_and_listens_on_loopback_only():
    run = read_run_file(SHIPPED)
    assert run.address == ("127.0.0.1", 8000)
    assert run.app.api.default_groups == [] and not run.app.api.trust_client_groups


def test_every_queue_is_bounded_and_refuses_with_429():
    app = read_run_file(SHIPPED).app
    sections = (app.api, app.retriever, app.generator, app.writer)
    scales = [section.scale for section in sections]
    for scale in scales:
        options = deployment_options(scale)
        assert options["max_queued_requests"] > 0
        assert options["backpressure_config"]["status_code"] == 429
    assert sum(scale.num_cpus for scale in scales) <= 2, "must start on two cores"


def test_a_step_of_load_is_seen_within_seconds_and_a_generator_may_sleep():
    app = read_run_file(SHIPPED, ["generator.scale.min_replicas=0"]).app
    assert app.generator.scale.sleeps and not read_run_file(SHIPPED).app.generator.scale.sleeps
    told = deployment_options(app.generator.scale)["autoscaling_config"]
    assert (told["min_replicas"], told["initial_replicas"]) == (0, 0)
    assert told["metrics_interval_s"] < told["look_back_period_s"], "Ray asks for it"
    assert sum(told[n] for n in ("metrics_interval_s", "look_back_period_s", "upscale_delay_s")) < 5


def test_what_computes_keeps_its_replicas_health_checks_free():
    from serve.app import build_app

    ingress = build_app(read_run_file(SHIPPED, store="/s").app)._bound_deployment
    others = [a._bound_deployment for a in ingress.init_args if hasattr(a, "_bound_deployment")]
    assert [d.name for d in others] == ["Retriever", "Generator", "Writer"]
    in_one_loop = [d.name for d in (ingress, *others) if "runtime_env" in d.ray_actor_options]
    assert in_one_loop == ["Api"]


def test_behind_haproxy_it_does_not_start_without_keys(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    args = read_run_file(SHIPPED, store="/s").app
    from serve.app import build_app

    with pytest.raises(ConfigError, match=r"api.keys is empty and RAY_SERVE_ENABLE_HA_PROXY=1"):
        build_app(args)
    build_app(read_run_file(SHIPPED, ["api.keys=keys.yaml"], "/s").app)


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
        ("api.scale.min_replicas=0", "min_replicas"),
        ("writer.scale.min_replicas=0", "min_replicas"),
        ("answering.cache.min_cosine=1.5", "min_cosine"),
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
    assert run.address == ("0.0.0.0", 9000)


def test_replica_bounds_must_be_in_order():
    with pytest.raises(ValueError, match="max_replicas=1 is below min_replicas=2"):
        ScaleConfig(min_replicas=2, max_replicas=1)
    assert AppConfig().writer.scale.max_replicas == 1


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


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_other_machines_are_let_in_with_keys_alone(host, tmp_path):
    beyond = ("run", "--store", str(tmp_path / "none"), "--host", host)
    assert "rayraft keys create" in one_line_error(cli(*beyond))
    keys = tmp_path / "keys.yaml"
    assert "keys.yaml" in one_line_error(cli(*beyond, "--keys", str(keys)))
    keys.write_text("keys: []")
    assert "no key" in one_line_error(cli(*beyond, "--keys", str(keys)))
    assert cli("keys", "create", "k", "--keys", str(keys)).exit_code == 0
    assert "run ingest first" in one_line_error(cli(*beyond, "--keys", str(keys)))
    local = cli("run", "--store", str(tmp_path / "none"), "--host", "127.0.0.2")
    assert "run ingest first" in one_line_error(local)
