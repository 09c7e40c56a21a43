"""The list of adapters that service and evaluation choose from."""

from pathlib import Path

import pytest

from data_pipelines.artifacts import publish
from data_pipelines.champions import champions, promote, rollback
from data_pipelines.published_adapters import (
    default_adapter,
    fitting_adapters,
)
from rayraft.errors import NotFoundError
from rayraft.manifests import Manifest
from rayraft.prompts import prompt_digest


def add(store: Path, name: str, method: str, base_digest: str = "base") -> None:
    manifest = Manifest(
        kind="adapter",
        kb_version=4,
        base_digest=base_digest,
        prompt_digest=prompt_digest(),
        config={"method": method},
    )
    publish(str(store), "adapter", name, {"w": b"x"}, manifest)


def ids(store: Path) -> list[str]:
    return [adapter.ref.artifact_id for adapter in fitting_adapters(str(store), "base")]


def test_a_broken_manifest_and_other_base_models_leave_the_others_there(tmp_path: Path):
    for name in ("reader", "broken", "foreign"):
        add(tmp_path, name, "raft", "other" if name == "foreign" else "base")
    (tmp_path / "adapters/broken/1/manifest.json").write_text("{")
    assert ids(tmp_path) == ["reader-v1"]


def test_the_newest_is_taken_among_its_methods_only(tmp_path: Path):
    for name, method in (("both", "mixed"), ("memory", "sft")):
        add(tmp_path, name, method)
    published = sorted(fitting_adapters(str(tmp_path), "base"), key=lambda a: a.ref.name)
    reading, memory = (default_adapter(published, role) for role in ("reading", "memory"))
    assert reading is not None and reading.reference.adapter_id == "both-v1"
    assert memory is not None and memory.reference.adapter_id == "memory-v1"
    assert default_adapter(published[1:], "reading") is None


def test_each_tenant_has_its_own_champion_and_no_other_tenants(tmp_path):
    store, acme, other = str(tmp_path), ["tenant:acme"], ["tenant:other"]

    def answering(groups):
        found = default_adapter(fitting_adapters(store, "base"), "reading", groups)
        return found.ref.artifact_id if found else None

    for name in ("acme--own", "acme--own", "shared", "shared"):
        add(tmp_path, name, "raft")
    assert [answering(groups) for groups in ([], acme, other)] == [
        "shared-v2",
        "acme--own-v2",
        "shared-v2",
    ]
    for adapter_id in ("shared-v1", "acme--own-v1", "acme--own-v2"):
        promote(store, adapter_id)
    assert champions(store) == {"reading": "shared-v1"}
    assert champions(store, "acme") == {"reading": "acme--own-v2"}
    assert answering([]) == answering(other) == "shared-v1"
    assert rollback(store, "reading", "acme") == "acme--own-v1" == answering(acme)
    with pytest.raises(NotFoundError):
        rollback(store, "reading", "other")
    assert rollback(store, "reading") is None
    assert answering(other) == "shared-v2" and answering(acme) == "acme--own-v1"
