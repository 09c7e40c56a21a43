"""Addresses: which belong to this machine alone, and whether requests can come from elsewhere."""

import ipaddress
import os
from typing import NamedTuple

HAPROXY = "RAY_SERVE_ENABLE_HA_PROXY"
"""Ray Serve's setting: `1` puts HAProxy before the service, on all interfaces, whatever the host is
said to be; every request then reaches the service from loopback."""


class Address(NamedTuple):
    """Where a service listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Of its root, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def hides_addresses() -> bool:
    """Whether requests from anywhere look as if they came from this machine."""
    return os.environ.get(HAPROXY) == "1"


def is_loopback(host: str) -> bool:
    """Whether an address (or `localhost`) can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
