import re
import subprocess
from pathlib import Path

import pytest

import rayraft
from rayraft.errors import ArtifactMismatch
from rayraft.manifests import Manifest, check_adapter, check_file, parse_manifest, sha256
from rayraft.provenance import code_commit


def test_manifest_survives_its_own_text() -> None:
    manifest = Manifest(kind="adapter", kb_version=7, metrics={"loss": 0.5}, files={"a": "b"})
    assert parse_manifest(manifest.to_json(), "m") == manifest


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "adapter", "colour": 1}', "{}"])
def test_text_that_is_no_manifest_is_one_clear_line(text: str) -> None:
    with pytest.raises(ArtifactMismatch, match=r"^store/manifest.json: not a manifest") as error:
        parse_manifest(text, "store/manifest.json")
    assert "\n" not in str(error.value)


def test_changed_file_is_refused() -> None:
    manifest = Manifest(kind="adapter", files={"w": sha256(b"weights")})
    check_file(manifest, "w", b"weights", "here")
    with pytest.raises(ArtifactMismatch, match="here/w"):
        check_file(manifest, "w", b"Weights", "here")
    with pytest.raises(ArtifactMismatch, match="here/other"):
        check_file(manifest, "other", b"weights", "here")


def test_adapter_is_bound_to_base_model_and_prompts() -> None:
    manifest = Manifest(kind="adapter", base_digest="b" * 64, prompt_digest="p" * 64)
    check_adapter(manifest, "b" * 64, "p" * 64, "support-v1")
    with pytest.raises(ArtifactMismatch, match=r"support-v1.*base model"):
        check_adapter(manifest, "x" * 64, "p" * 64, "support-v1")
    with pytest.raises(ArtifactMismatch, match=r"support-v1.*prompts"):
        check_adapter(manifest, "b" * 64, "x" * 64, "support-v1")
    with pytest.raises(ArtifactMismatch, match="kind is raft"):
        check_adapter(Manifest(kind="raft"), "b" * 64, "p" * 64, "support-v1")


def test_adapter_without_digests_is_refused() -> None:
    with pytest.raises(ArtifactMismatch, match="digest none"):
        check_adapter(Manifest(kind="adapter"), "b" * 64, "p" * 64, "old")


def test_a_manifest_of_before_commit_and_version_were_kept_still_loads() -> None:
    old = parse_manifest('{"kind": "raft", "data_digest": "d"}', "old")
    assert (old.commit, old.rayraft_version, old.data_digest) == (None, None, "d")


def test_the_commit_is_that_of_the_checkout_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rayraft, "__file__", str(tmp_path / "rayraft" / "__init__.py"))
    assert code_commit.__wrapped__() is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "file").write_text("1")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "m"], check=True)
    clean = code_commit.__wrapped__()
    assert clean is not None and re.fullmatch("[0-9a-f]{40}", clean)
    (tmp_path / "file").write_text("2")
    assert code_commit.__wrapped__() == f"{clean}-dirty"
    monkeypatch.setenv("PATH", "")
    assert code_commit.__wrapped__() is None
