"""A sitemap to the URLs of its site's pages. Source: sitemaps.org/protocol.html."""

import gzip
import io
import zlib
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from data_pipelines.config import ReadingConfig
from data_pipelines.converters import Unreadable
from data_pipelines.web import fetch
from rayraft.errors import InputError

_MOST_URLS = 50_000
_MOST_MAPS = 100


def is_sitemap(url: str) -> bool:
    """Whether the URL's name is that of a sitemap."""
    return urlsplit(url).path.lower().endswith((".xml", ".xml.gz"))


def pages_of(url: str, config: ReadingConfig) -> list[str]:
    """URLs of the pages on the sitemap's own host, in its order, each once.

    Raises:
        InputError: It cannot be had or is no sitemap.
    """
    pages: dict[str, None] = {}
    waiting, seen = [url], {url}
    while waiting and len(pages) < _MOST_URLS:
        kind, locations = _locations(waiting.pop(0), config)
        here = [item for item in locations if urlsplit(item).hostname == urlsplit(url).hostname]
        if kind == "urlset":
            pages |= dict.fromkeys(here)
            continue
        new = [item for item in here if item not in seen][: _MOST_MAPS - len(seen)]
        seen.update(new)
        waiting += new
    return list(pages)[:_MOST_URLS]


def _locations(url: str, config: ReadingConfig) -> tuple[str, list[str]]:
    try:
        data = fetch(url, config).data
        if data[:2] == b"\x1f\x8b":
            data = _unpacked(data, config)
        root = defusedxml.ElementTree.fromstring(data, forbid_dtd=True)
    except (Unreadable, ParseError, DefusedXmlException, OSError, EOFError, zlib.error) as exc:
        raise InputError(f"sitemap {url}: {exc}") from exc
    kind = root.tag.rpartition("}")[2]
    if kind not in ("urlset", "sitemapindex"):
        raise InputError(f"sitemap {url}: its root is {kind!r}, not urlset or sitemapindex")
    found = [item.text.strip() for item in root.findall("{*}*/{*}loc") if item.text]
    return kind, found


def _unpacked(data: bytes, config: ReadingConfig) -> bytes:
    limit = config.max_unpacked_mb * 2**20
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        text = file.read(limit + 1)
    if len(text) > limit:
        raise Unreadable(f"over max_unpacked_mb={config.max_unpacked_mb}")
    return text
