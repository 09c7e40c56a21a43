"""Base models by name and by bytes, and the batches that they are run in."""

from pathlib import Path

import pytest

from rayraft.errors import ConfigError, InputError, NotFoundError
from rayraft.models.base_files import base_digest
from rayraft.models.batching import length_batches
from rayraft.models.text import TextModel
from tests.ray.tiny_models import save_seq2seq


def test_base_digest_changes_with_a_byte_of_the_weights(tmp_path: Path) -> None:
    base = save_seq2seq(tmp_path)
    before = base_digest(base)
    assert base_digest(base) == before
    path = tmp_path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert base_digest(base) != before


def test_unknown_model_and_dtype_are_clear(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="base model 'no/such-model'"):
        TextModel.load("no/such-model")
    with pytest.raises(ConfigError, match="dtype='int4'"):
        TextModel.load("mini", dtype="int4")
    (tmp_path / "config.json").write_text('{"model_type": "t5", "auto_map": {"AutoModel": "x.Y"}}')
    with pytest.raises(InputError, match="auto_map"):
        TextModel.load(str(tmp_path))


def test_batches_hold_every_row_once_within_the_budget() -> None:
    lengths = [3, 50, 7, 7, 100, 1, 30]
    batches = length_batches(lengths, 100)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(b) * max(lengths[i] for i in b) <= 100 for b in batches)
    assert len(batches) < len(lengths)
