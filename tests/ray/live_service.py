"""A running application whose generator is scripted, and a client's words to it."""

from tests.ray.serve_fakes import ScriptedModel, free_port


def start_service(store):
    """Its URL; the generator takes four requests and queues four."""
    import ray.serve

    from serve.app import compose
    from serve.config import AppConfig
    from serve.deployments import Generator

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
    config = AppConfig.model_validate(sections)
    port = free_port()
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    http = {"host": "127.0.0.1", "port": port}
    ray.serve.start(proxy_location="HeadOnly", http_options=http, logging_config=quiet)
    app = compose(config, ScriptedGenerator)
    ray.serve.run(app, name="rayraft", route_prefix="/", logging_config=quiet)
    return f"http://127.0.0.1:{port}"


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
