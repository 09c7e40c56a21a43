"""Composes the Serve application: which class runs as which deployment, with which resources."""

import os
import warnings
from typing import Any

import ray.serve

from data_pipelines.stores import store_uri
from rayraft.errors import ConfigError
from serve.config import ApiConfig, AppConfig, GeneratorConfig, RetrieverConfig
from serve.deployments import Api, Generator, ListeningApi
from serve.knowledge import Retriever, Writer
from serve.loopback import HAPROXY, Address, hides_addresses
from serve.scaling import GRACE_S, ScaleConfig, deployment_options
from serve.shards import RetrieverShard, ShardedRetriever
from serve.vllm_options import check_vllm, server_options
from serve.vllm_server import VllmServer

APP_NAME = "rayraft"
PASSING_ON = ScaleConfig(max_replicas=4, target_ongoing_requests=64, max_ongoing_requests=128)
"""Of a generator that only waits for vLLM."""


def build_app(args: AppConfig) -> Any:
    """The application for `serve run serve/app.yaml` and `rayraft serve`.

    Raises:
        ConfigError: Neither `store` nor RAYRAFT_STORE is set.
    """
    return compose(args, Generator)


def compose(
    args: AppConfig, generator_class: type[Generator], address: Address | None = None
) -> Any:
    """The application with another generator, such as a test's, or listening for itself.

    Args:
        args: Of `serve/app.yaml`.
        generator_class: What writes.
        address: Where its one API process listens; None puts Serve's proxy before it.

    Raises:
        ConfigError: It would be open to everybody.
    """
    if address is None and not args.api.keys and hides_addresses():
        raise ConfigError(
            f"api.keys is empty and {HAPROXY}=1: HAProxy listens on all interfaces, and the "
            "service cannot tell other machines from this one; `rayraft keys create` makes a key"
        )
    store = resolve_store(args.store)
    retriever = retriever_of(args.retriever, store)
    generator = generator_of(args.generator, store, generator_class)
    writer = _deployment(Writer, args.writer.scale).bind(args.writer, store)
    options = deployment_options(args.api.scale, only_waits=True)
    graph = (args, store, retriever, generator, writer)
    if address is None:
        return _made(ray.serve.ingress(None)(Api), "Api", options).bind(*graph)
    # Ray looks every 2 s whether a replica has nothing to do any more, and only then ends it.
    options |= {"graceful_shutdown_timeout_s": GRACE_S + 3}
    return _made(ListeningApi, "Api", options).bind(address, *graph)


def listens_itself(api: ApiConfig) -> bool:
    """Whether a service of one machine needs no proxy: it has one API process."""
    return api.scale.max_replicas == 1


def retriever_of(config: RetrieverConfig, store: str) -> Any:
    """The deployment that searches: one index, or shards and the one that asks them all."""
    if config.shards == 1:
        return _deployment(Retriever, config.scale).bind(config, store)
    shards = [
        _deployment(RetrieverShard, config.scale, f"RetrieverShard{number}").bind(
            config, store, number
        )
        for number in range(config.shards)
    ]
    return _deployment(ShardedRetriever, config.scale).bind(config, store, *shards)


def generator_of(config: GeneratorConfig, store: str, cls: type[Generator]) -> Any:
    """The deployment that writes; with engine `vllm` it passes on to another one.

    Raises:
        ConfigError: vLLM is to run in this environment, and is not installed.
    """
    if config.engine != "vllm":
        return _deployment(cls, config.scale).bind(config, store)
    if not config.vllm.python:
        check_vllm()
    vllm = _made(VllmServer, "Vllm", server_options(config)).bind(config.model_dump(), store)
    return _deployment(cls, PASSING_ON).bind(config, store, vllm)


def resolve_store(store: str) -> str:
    """`store` or RAYRAFT_STORE; a relative folder becomes absolute, since replicas run elsewhere.

    Raises:
        ConfigError: Neither is set.
    """
    store = store or os.environ.get("RAYRAFT_STORE", "")
    if not store:
        raise ConfigError("store is not set: give --store, args.store or RAYRAFT_STORE")
    return store_uri(store)


def _deployment(cls: type, scale: ScaleConfig, name: str | None = None) -> Any:
    return _made(cls, name or cls.__name__, deployment_options(scale))


def _made(cls: type, name: str, options: dict[str, Any]) -> Any:
    with warnings.catch_warnings():
        # Ray 2.60 names environment variables as its successors and does not read them yet.
        warnings.filterwarnings("ignore", message="The `metrics_interval_s` field")
        return ray.serve.deployment(cls, name=name, **options)
