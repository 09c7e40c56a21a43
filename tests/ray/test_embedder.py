"""The MiniLM embedder: Transformers' vectors, bf16 as good as fp32, batches do not matter."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from rayraft.errors import ConfigError
from rayraft.models.batching import length_batches
from rayraft.models.embedder import Embedder
from rayraft.models.embedder_tokenizer import model_folder

TEXTS = [
    "When did the oil crisis begin?",
    "",
    "The oil crisis began in October 1973.",
    "A bird on the lake. " * 200,
    "Ünïcödé 漢字 🙂",
]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.load()


def test_bf16_points_where_fp32_points(embedder: Embedder):
    exact = Embedder.load(dtype="float32").embed(TEXTS)

    assert (embedder.embed(TEXTS) * exact).sum(1).min() >= 0.999


@pytest.mark.parametrize("words", [0, 151, 250])  # the longer, in wider batches than their texts
@torch.inference_mode()
def test_vectors_are_the_means_of_what_transformers_computes(words: int):
    texts = [text + number * " word" for text in TEXTS for number in {words, words // 3}]
    exact = Embedder.load(dtype="float32")
    bert = BertModel.from_pretrained(model_folder("minilm"), add_pooling_layer=False).eval()
    states = [bert(torch.tensor([ids])).last_hidden_state for ids in exact.tokenizer.encode(texts)]
    means = torch.cat([state.mean(1) for state in states])
    expected = torch.nn.functional.normalize(means, dim=1).numpy()

    assert exact.embed(texts) == pytest.approx(expected, abs=1e-5)


def test_a_bert_that_computes_something_else_is_refused(tmp_path: Path):
    folder = shutil.copytree(model_folder("minilm"), tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))

    with pytest.raises(ConfigError, match="hidden_act='relu': must be 'gelu'"):
        Embedder.load(str(folder))


def test_vectors_are_float32_of_length_one_and_related_texts_are_close(embedder: Embedder):
    vectors = embedder.embed(TEXTS)

    assert vectors.dtype == np.float32 and vectors.shape == (len(TEXTS), embedder.spec.dim)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[2] > 0.6 > 0.2 > vectors[0] @ vectors[3]
    assert embedder.embed([]).shape == (0, embedder.spec.dim)


def test_a_text_has_the_same_vector_in_any_batch(embedder: Embedder):
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])

    assert (together * alone).sum(1).min() >= 0.999


def test_token_spans_are_the_counted_tokens(embedder: Embedder):
    text = "Unbelievable, 3.5 metres!\n"
    spans = embedder.token_spans(text)

    assert len(spans) == embedder.count_tokens([text])[0]
    assert text[spans[0][0] : spans[-1][1]] == "Unbelievable, 3.5 metres!"


def test_length_batches_hold_every_row_once_within_the_budget():
    lengths = [3, 50, 7, 7, 100, 1, 20]
    batches = list(length_batches(lengths, 40))

    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[row] for row in batch) * len(batch) <= 40


def test_an_unknown_name_or_dtype_is_a_configuration_error():
    with pytest.raises(ConfigError, match="embedder='x'"):
        Embedder.load("x")
    with pytest.raises(ConfigError, match="float16"):
        Embedder.load(dtype="float16")
