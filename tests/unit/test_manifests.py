import pytest

from rayraft.errors import ArtifactMismatch
from rayraft.manifests import Manifest, check_adapter, check_file, parse_manifest, sha256


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
