"""Composes the Serve application: which class runs as which deployment, with which resources."""

import os
import warnings
from typing import Any

import ray.serve

from data_pipelines.stores import store_uri
from rayraft.errors import ConfigError
from serve.config import AppConfig, RetrieverConfig
from serve.deployments import Api, Generator, Router
from serve.knowledge import Retriever, Writer
from serve.scaling import ScaleConfig, deployment_options
from serve.shards import RetrieverShard, ShardedRetriever

APP_NAME = "rayraft"


def build_app(args: AppConfig) -> Any:
    """The application for `serve run serve/app.yaml` and `rayraft serve`.

    Raises:
        ConfigError: Neither `store` nor RAYRAFT_STORE is set.
    """
    return compose(args, Generator)


def compose(args: AppConfig, generator_class: type[Generator]) -> Any:
    """The application with another generator, such as a test's."""
    store = resolve_store(args.store)
    retriever = retriever_of(args.retriever, store)
    generator = _deployment(generator_class, args.generator.scale).bind(args.generator, store)
    writer = _deployment(Writer, args.writer.scale).bind(args.writer, store)
    router = _deployment(Router, args.answering.scale).bind(
        args.answering, store, retriever, generator
    )
    ingress = ray.serve.ingress(None)(Api)
    return _deployment(ingress, args.api.scale).bind(
        args.api, router, retriever, generator, writer, args.generator.scale.sleeps
    )


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
    with warnings.catch_warnings():
        # Ray 2.60 names environment variables as its successors and does not read them yet.
        warnings.filterwarnings("ignore", message="The `metrics_interval_s` field")
        return ray.serve.deployment(cls, name=name or cls.__name__, **deployment_options(scale))
