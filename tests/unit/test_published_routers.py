"""Which learned router is used, as stores change."""

from pathlib import Path

import pytest

from data_pipelines.artifacts import publish
from data_pipelines.published_routers import FILE, fitting_routers, newest_router
from rayraft.errors import NotFoundError
from rayraft.manifests import Manifest
from rayraft.prompts import prompt_digest
from serve.routers import RouterCatalog
from tests.unit.small_router import router


def add(store: Path, name: str, **changes):
    values = {"base_digest": "base", "prompt_digest": prompt_digest(), **changes}
    text = router(name=name, **values).model_dump_json().encode()
    publish(str(store), "router", name, {FILE: text}, Manifest(kind="router"))


def names(store: Path, adapters=("reader-v1",)):
    return [each.name for each in fitting_routers(str(store), "base", adapters)]


def test_only_what_fits_base_prompts_and_published_adapters_is_taken(tmp_path: Path):
    add(tmp_path, "plain")
    add(tmp_path, "reading", adapter="reader-v1")
    add(tmp_path, "gone", adapter="reader-v0")
    add(tmp_path, "drafting", draft_adapter="memory-v9")
    add(tmp_path, "other-base", base_digest="another")
    add(tmp_path, "other-prompts", prompt_digest="another")
    assert sorted(names(tmp_path)) == ["plain", "reading"]
    assert names(tmp_path, ()) == ["plain"]


def test_a_changed_or_broken_router_is_passed_over(tmp_path: Path):
    add(tmp_path, "good")
    add(tmp_path, "changed")
    path = tmp_path / "routers/changed" / FILE
    path.write_text(path.read_text().replace("closed_book", "rag:k=1"))
    publish(str(tmp_path), "router", "broken", {FILE: b"{}"}, Manifest(kind="router"))
    assert names(tmp_path) == ["good"]


def test_the_newest_of_the_same_adapter_is_used():
    routers = [router(name="a"), router(name="b", adapter="x-v1"), router(name="c")]
    chosen = newest_router(routers, None)
    assert chosen is not None and chosen.name == "c"
    assert newest_router(routers, "x-v1") == routers[1]
    assert newest_router(routers, "y-v1") is None


def test_a_catalogue_follows_publications_and_refuses_what_is_named_and_missing():
    published = [router(name="a")]
    followed = RouterCatalog(lambda: published, "latest", poll_s=1e-9)
    assert followed.router(None) == published[0]
    published.append(router(name="b"))
    assert followed.router(None) == published[1]
    assert followed.router("x-v1") is None
    assert RouterCatalog(lambda: published, None, 1).router(None) is None
    assert RouterCatalog(lambda: published, "a", 1).router(None) == published[0]
    with pytest.raises(NotFoundError, match=r"router 'z'.*fitting: a, b"):
        RouterCatalog(lambda: published, "z", 1).router(None)


def test_a_router_that_may_choose_a_tenants_adapter_is_for_that_tenant_alone():
    shared, acmes = router(name="r-v1"), router(name="r-v2", draft_adapter="acme--m-v1")
    catalog = RouterCatalog(lambda: [shared, acmes], "latest", poll_s=1)
    assert catalog.router(None, ["tenant:acme"]) == acmes
    assert catalog.router(None) == catalog.router(None, ["tenant:other"]) == shared
