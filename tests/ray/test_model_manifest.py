"""The shipped model is the one its manifest names."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open

import rayraft.mini
from rayraft.errors import ArtifactMismatch, InputError
from rayraft.manifests import MANIFEST, Manifest
from rayraft.models.base import load_base
from rayraft.models.base_files import MINI, base_digest
from rayraft.models.model_manifest import verify_model, write_model_manifest
from rayraft.models.reranker import Reranker
from train.mini_manifest import write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


SHIPPED = (rayraft.mini.WEIGHTS, rayraft.mini.RERANKER)


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: path.name)
def test_the_shipped_files_are_those_of_the_manifest(shipped: Path) -> None:
    manifest = verify_model.__wrapped__(shipped)
    assert set(manifest.files) == {path.name for path in shipped.iterdir()} - {MANIFEST}
    assert manifest.curve and manifest.metrics["validation_loss"] > 0


def test_the_shipped_weights_are_small_and_no_word_embeddings_are_among_them() -> None:
    files = [path / "model.safetensors" for path in SHIPPED]
    assert sum(path.stat().st_size for path in files) <= 64_000_000
    for path in files:
        with safe_open(path, "pt") as file:
            assert not any(name.startswith("shared") for name in file.keys())  # noqa: SIM118


def test_the_shipped_reranker_prefers_the_passage_that_answers() -> None:
    passages = [
        "The Rhine\nThe Rhine rises in the Alps and flows into the North Sea.",
        "The Rhine\nIn 1986 a fire near Basel poisoned the river with 30 tonnes of chemicals.",
        "Basel\nBasel is the third largest city of Switzerland by population.",
    ]
    questions = ["Where does the Rhine begin?", "What poisoned the river?", "How large is Basel?"]
    reranker = Reranker.load()
    assert [int(reranker.score(q, passages).argmax()) for q in questions] == [0, 1, 2]


def test_a_manifest_does_not_change_what_adapters_are_bound_to(folder: Path) -> None:
    before = base_digest(str(folder))
    write_model_manifest(folder, Manifest(kind="model"))
    assert base_digest(str(folder)) == before


def test_a_changed_or_missing_file_is_refused(folder: Path) -> None:
    with pytest.raises(ArtifactMismatch, match=r"manifest\.json is missing"):
        verify_model(folder)
    assert write_model_manifest(folder, Manifest(kind="model")).files.keys() == {
        "config.json",
        "model.safetensors",
    }
    assert verify_model(folder).kind == "model"
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ArtifactMismatch, match=r"model\.safetensors: sha256 is"):
        verify_model.__wrapped__(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ArtifactMismatch, match=r"model\.safetensors is missing"):
        verify_model.__wrapped__(folder)


def test_loading_mini_refuses_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(rayraft.mini.WEIGHTS, tmp_path / "weights")
    (copy / "generation_config.json").write_text("{}")
    monkeypatch.setattr(rayraft.mini, "WEIGHTS", copy)
    with pytest.raises(ArtifactMismatch, match="generation_config"):
        load_base(MINI, "fp32")


def test_the_manifest_of_another_runs_weights_is_not_written(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    with pytest.raises(InputError, match="is the run finished"):
        write_manifest(tmp_path, run, folder)
    (run / "training.json").write_text(json.dumps({"config": {}, "curves": {}}))
    (run / "model" / "model.safetensors").write_bytes(b"made")
    with pytest.raises(InputError, match="not the weights"):
        write_manifest(tmp_path, run, folder)
    assert not (folder / MANIFEST).exists()
