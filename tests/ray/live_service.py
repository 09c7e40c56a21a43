"""A running application whose generator is scripted, and a client's words to it."""

import time

from data_pipelines.canaries import start_canary, stop_canary
from data_pipelines.champions import promote, rollback
from rayraft.demo.http import free_port
from serve.canary import draw
from tests.ray.serve_fakes import ScriptedModel


def start_service(store, **changed):
    """Its URL; the generator takes four requests and queues four.

    `changed` are settings of sections in place of these.
    """
    import ray.serve

    from serve.app import compose, listens_itself
    from serve.config import AppConfig
    from serve.deployments import Generator
    from serve.loopback import Address

    class ScriptedGenerator(Generator):
        @staticmethod
        def load_model(config):
            return ScriptedModel()

    few = {"max_ongoing_requests": 4, "max_queued_requests": 4, "num_cpus": 0.2}
    sections = {
        "store": store,
        "answering": {"adapter_poll_s": 0.1},
        "retriever": {"wait_s": 2, "poll_s": 0.3, "scale": {"num_cpus": 0.2}},
        "generator": {"scale": few},
    }
    for section, values in changed.items():
        sections[section] = {**sections.get(section, {}), **values}
    config = AppConfig.model_validate(sections)
    address = Address("127.0.0.1", free_port())
    alone = listens_itself(config.api)
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    where = "Disabled" if alone else "HeadOnly"
    http = address._asdict()
    ray.serve.start(proxy_location=where, http_options=http, logging_config=quiet)
    app = compose(config, ScriptedGenerator, address if alone else None)
    ray.serve.run(app, name="rayraft", route_prefix="/", logging_config=quiet)
    return address.url


def chat(client, question, model="rayraft/rag", **options):
    return client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": question}],
        extra_body={"rayraft": options},
    )


def said(completion):
    return completion.choices[0].message.content


def version_of(http):
    return http.get("/readyz").json()["kb_version"]


def follow_changes(store, client, question):
    """Promotions, a rollback and a canary of support-v2 reach the service within seconds."""
    asked = next(q for i in range(99) if draw("support-v2", q := f"{question} {i}") < 0.5)
    changes = (
        (lambda: promote(store, "support-v1"), "support-v1"),
        (lambda: promote(store, "support-v2"), "support-v2"),
        (lambda: rollback(store, "reading"), "support-v1"),
        (lambda: start_canary(store, "support-v2", 0.5), "support-v2"),
        (lambda: stop_canary(store), "support-v1"),
    )
    for change, answering in changes:
        change()
        seconds = seconds_until(client, asked, answering)
        assert seconds < 5, (answering, seconds)


def seconds_until(client, question, adapter):
    """How long the service takes until the adapter answers."""
    began = time.monotonic()
    while time.monotonic() - began < 10:
        details = chat(client, question, model="rayraft/raft").model_extra["rayraft"]
        if details["adapter"] == adapter:
            break
    return time.monotonic() - began
