"""Web pages as files: a page or a sitemap, without a way into the network that we are in.

A host is resolved once and connected to at just the address that was looked at, so a name that
changes its address between the two gains nothing. Every redirect is looked at like a first address.
"""

import http.client
import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from data_pipelines.config import ReadingConfig
from data_pipelines.converters import Unreadable
from data_pipelines.files import suffix_of

_REDIRECTS = 5
_CHUNK_BYTES = 2**16
_AGENT = "rayraft"
_SUFFIXES = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "application/pdf": ".pdf",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "application/json": ".json",
    "application/xml": ".xml",
    "text/xml": ".xml",
}


@dataclass(frozen=True)
class Page:
    """What a URL gave."""

    url: str
    """Where the last redirect led."""
    suffix: str
    data: bytes


def is_web(path: str) -> bool:
    """Whether it is the URL of a page."""
    return path.lower().startswith(("http://", "https://"))


def is_public(address: str) -> bool:
    """Whether an IP address is outside of every private, local and reserved range."""
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    return found.is_global and not found.is_multicast and (inner is None or is_public(str(inner)))


def fetch(url: str, config: ReadingConfig) -> Page:
    """The page at a URL.

    Raises:
        Unreadable: It cannot be had, is too large, takes too long, or is at a private address.
    """
    deadline = time.monotonic() + config.timeout_s
    for _ in range(_REDIRECTS + 1):
        try:
            found = _get(url, config, deadline)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise Unreadable(f"{url}: {type(exc).__name__}: {exc}") from exc
        if isinstance(found, Page):
            return found
        url = urljoin(url, found)
    raise Unreadable(f"{url}: more than {_REDIRECTS} redirects")


def _get(url: str, config: ReadingConfig, deadline: float) -> Page | str:
    """The page, or where it is redirected to."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise Unreadable(f"{url}: expected http(s)://host/...")
    connection = _connect(parts, config, max(0.1, deadline - time.monotonic()))
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"User-Agent": _AGENT, "Accept": "*/*"})
        response = connection.getresponse()
        location = response.getheader("Location")
        if 300 <= response.status < 400 and location:
            return location
        if response.status != 200:
            raise Unreadable(f"{url}: HTTP {response.status}")
        data = _body(response, config, deadline)
        kind = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        return Page(url, _SUFFIXES.get(kind) or suffix_of(parts.path) or ".html", data)
    finally:
        connection.close()


def _connect(
    parts: SplitResult, config: ReadingConfig, timeout_s: float
) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    addresses = {
        str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    }
    if not config.private_urls:
        for address in sorted(addresses):
            if not is_public(address):
                raise Unreadable(
                    f"{host} is {address}, which is no public address; "
                    "reading.private_urls=true allows it"
                )
    pinned = socket.create_connection((min(addresses), port), timeout=timeout_s)
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context()
            pinned = context.wrap_socket(pinned, server_hostname=host)
    except BaseException:
        pinned.close()
        raise
    connection.sock = pinned
    return connection


def _body(response: http.client.HTTPResponse, config: ReadingConfig, deadline: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := response.read1(_CHUNK_BYTES):
        size += len(part)
        if size > config.max_file_mb * 2**20:
            raise Unreadable(f"over max_file_mb={config.max_file_mb}")
        if time.monotonic() > deadline:
            raise Unreadable(f"took longer than timeout_s={config.timeout_s:g}")
        parts.append(part)
    return b"".join(parts)
