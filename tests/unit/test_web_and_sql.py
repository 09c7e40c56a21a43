"""Web pages and databases as sources: what is read, and what no page may lead to."""

import gzip
import http.server
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import data_pipelines.web as web
from data_pipelines.config import ReadingConfig
from data_pipelines.converters import Unreadable
from data_pipelines.quarantine import Rejected
from data_pipelines.readers import read_file
from data_pipelines.sources import SourceFile, find_files
from data_pipelines.sql_source import Query, check_query
from data_pipelines.web import fetch, is_public
from rayraft.cli import build_app
from rayraft.errors import InputError
from rayraft.records import Document

INTRANET = ReadingConfig(private_urls=True, max_file_mb=1, timeout_s=5)


class Site(http.server.BaseHTTPRequestHandler):
    """Answers from `pages`: path -> (status, headers, body)."""

    pages: dict[str, tuple[int, dict[str, str], bytes]]

    def do_GET(self) -> None:
        status, headers, body = self.pages.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[tuple[str, dict[str, Any]]]:
    """A site on this machine and its pages."""
    pages: dict[str, Any] = {}
    handler = type("Handler", (Site,), {"pages": pages})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", pages
        server.shutdown()
        thread.join()


def text(body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "text/markdown", **headers}, body


def to(url: str) -> tuple[int, dict[str, str], bytes]:
    return 302, {"Location": url}, b""


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_only_public_addresses_are_public(address: str, public: bool):
    assert is_public(address) == public


def test_a_page_is_a_document_and_its_kind_is_what_the_server_says(site: Any):
    url, pages = site
    pages["/returns"] = text(b"# Returns\n\nThirty days.", acl="ignored")
    pages["/old"] = to("/returns")
    for path in ("/returns", "/old"):
        [found] = read_file(SourceFile(url + path, url + path), INTRANET)
        assert isinstance(found, Document)
        assert (found.document_id, found.title) == (url + path, "Returns")
        assert found.text == "# Returns\n\nThirty days."
    [found] = read_file(SourceFile(url + "/none", "x"), INTRANET)
    assert isinstance(found, Rejected) and "HTTP 404" in found.reason
    [found] = read_file(SourceFile(url + "/returns", "x"))
    assert isinstance(found, Rejected) and "no public address" in found.reason


def test_a_redirect_into_a_private_network_is_refused(site: Any, monkeypatch: pytest.MonkeyPatch):
    url, pages = site
    port = url.rpartition(":")[2]
    pages["/a"] = to(f"http://127.0.0.2:{port}/secret")
    pages["/secret"] = text(b"secret")
    pages["/ring"] = to("/ring")
    pages["/file"] = to("file:///etc/passwd")
    monkeypatch.setattr(web, "is_public", lambda address: address == "127.0.0.1")
    config = ReadingConfig(timeout_s=5)
    assert fetch(f"{url}/secret", config).data == b"secret"
    for path, words in [("/a", "127.0.0.2"), ("/ring", "5 redirects"), ("/file", "expected http")]:
        with pytest.raises(Unreadable, match=words):
            fetch(url + path, config)


def test_a_host_is_resolved_once_and_all_its_addresses_are_looked_at(
    site: Any, monkeypatch: pytest.MonkeyPatch
):
    url, pages = site
    pages["/x"] = text(b"text")
    port = int(url.rpartition(":")[2])
    asked: list[str] = []
    addresses = [["127.0.0.1"], ["10.0.0.1"]]
    really = socket.getaddrinfo

    def resolve(host: str, *args: Any, **options: Any) -> Any:
        if host != "rebinding.example":
            return really(host, *args, **options)
        asked.append(host)
        found = addresses[min(len(asked), len(addresses)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(web, "is_public", lambda address: address == "127.0.0.1")
    assert fetch(f"http://rebinding.example:{port}/x", ReadingConfig(timeout_s=5)).data == b"text"
    assert asked == ["rebinding.example"]
    with pytest.raises(Unreadable, match=r"10\.0\.0\.1"):
        fetch(f"http://rebinding.example:{port}/x", ReadingConfig(timeout_s=5))
    asked.clear()
    addresses[0] = ["127.0.0.1", "10.0.0.1"]
    with pytest.raises(Unreadable, match=r"10\.0\.0\.1"):
        fetch(f"http://rebinding.example:{port}/x", ReadingConfig(timeout_s=5))


def test_a_page_that_is_too_long_is_left(site: Any):
    url, pages = site
    pages["/long"] = text(b"x" * (2**20 + 1))
    with pytest.raises(Unreadable, match="max_file_mb=1"):
        fetch(f"{url}/long", INTRANET)


def test_a_sitemap_names_the_pages_of_its_host(site: Any):
    url, pages = site
    space = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
    index = f"<sitemapindex {space}><sitemap><loc>{url}/a.xml.gz</loc></sitemap></sitemapindex>"
    inner = (
        f"<urlset {space}><url><loc>{url}/one</loc></url><url><loc>{url}/two</loc></url>"
        f"<url><loc>http://elsewhere.example/</loc></url><url><loc>{url}/one</loc></url></urlset>"
    )
    pages["/sitemap.xml"] = (200, {}, index.encode())
    pages["/a.xml.gz"] = (200, {}, gzip.compress(inner.encode()))
    found, skipped = find_files([f"{url}/sitemap.xml"], INTRANET)
    assert ([item.path for item in found], skipped) == ([f"{url}/one", f"{url}/two"], [])
    entity = '<!DOCTYPE x [<!ENTITY e "x">]>'
    for broken in (b"<urlset>", b"<html/>", entity.encode() + inner.encode()):
        pages["/a.xml"] = (200, {}, broken)
        with pytest.raises(InputError, match="sitemap"):
            find_files([f"{url}/a.xml"], INTRANET)


def test_a_database_that_cannot_be_asked_is_said_before_ray_starts(tmp_path: Path):
    path = tmp_path / "crm.db"
    sqlite3.connect(path).close()
    check_query(Query("select 1", f"sqlite:///{path}"))
    assert Query("", "postgresql://u:secret@h/db?password=secret").name == "postgresql://h/db"
    for dsn in (f"sqlite:///{tmp_path}/none.db", "oracle://h/db", "crm.db"):
        with pytest.raises(InputError, match="--dsn"):
            check_query(Query("select 1", dsn))
    assert not (tmp_path / "none.db").exists()
    arguments = ["ingest", "--store", str(tmp_path / "store"), "--sql", "select 1"]
    result = CliRunner().invoke(build_app(), arguments, env={"RAYRAFT_DSN": ""})
    assert result.exit_code == 2 and "--dsn" in result.stderr
