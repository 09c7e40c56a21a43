"""The HTTP API as a replica of Ray Serve runs it: with its keys, and among its peers."""

import functools
import uuid
from typing import Any

from serve.api import create_api
from serve.config import ApiConfig
from serve.keys import KeyRing, read_keys
from serve.metrics import Metrics
from serve.peers import Peers, RayBoard
from serve.service import Service


def ingress_app(service: Service, config: ApiConfig) -> Any:
    """The ASGI application of one replica.

    Raises:
        ConfigError: The keys cannot be read.
    """
    keys = None
    if config.keys:
        keys = KeyRing(functools.partial(read_keys, config.keys), config.keys_poll_s)
    return create_api(service, config, keys, _join)


def _join(metrics: Metrics) -> Peers:
    return Peers(RayBoard(), uuid.uuid4().hex, metrics.text)
