"""The reranker: scores of pairs, lists in one row, and other models in its place."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

from rayraft.errors import InputError
from rayraft.mini.configuration import MiniRerankerConfig
from rayraft.mini.initial import initial_model
from rayraft.mini.reranking import MiniForSequenceClassification
from rayraft.mini.tokenizer import build_pair_tokenizer
from rayraft.models.base_files import base_folder
from rayraft.models.cross_encoder import AnyCrossEncoder
from rayraft.models.reranker import MAX_TOKENS, Reranker

QUESTION = "When did the Normans come?"
PASSAGES = [
    "They came in 1066.",
    "Oxygen is a gas that we breathe, and that burns nothing by itself. " * 3,
    "Rhine",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained reranker, made from an untrained reader."""
    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("reranker")
    reader = initial_model()
    with torch.no_grad():
        reader.encoder.span.segment.weight.normal_()
    MiniForSequenceClassification.from_reader(reader).save_pretrained(made)
    build_pair_tokenizer().save_pretrained(made)
    return made


@torch.no_grad()
def test_scores_are_those_of_each_pair_alone_in_any_batch(folder: Path) -> None:
    reranker = Reranker.load(str(folder), dtype="float32")
    together = reranker.score(QUESTION, PASSAGES)
    alone = [reranker.score(QUESTION, [passage])[0] for passage in PASSAGES]
    assert together.dtype == np.float32
    assert together == pytest.approx(alone, abs=1e-4)
    assert len(set(together.round(4))) == len(PASSAGES)


@torch.inference_mode()
@pytest.mark.parametrize("shipped", [True, False])
def test_scores_are_those_of_transformers(folder: Path, shipped: bool) -> None:
    name = "mini-reranker" if shipped else str(folder)
    theirs = AnyCrossEncoder.load(base_folder(name), "float32", MAX_TOKENS)
    expected = theirs.scores(theirs.encode(QUESTION, PASSAGES)).numpy()
    assert Reranker.load(name, dtype="float32").score(QUESTION, PASSAGES) == pytest.approx(
        expected, abs=1e-4
    )


def test_a_long_passage_is_cut_and_the_question_is_not(folder: Path) -> None:
    reranker = Reranker.load(str(folder), dtype="float32")
    words = "gas " * 400
    same_beginning = reranker.score(QUESTION, [words, words + "and oxygen", "and " + words])
    assert same_beginning[0] == pytest.approx(same_beginning[1], abs=1e-5)
    assert same_beginning[0] != pytest.approx(same_beginning[2], abs=1e-5)
    assert reranker.score("q " * 4 * MAX_TOKENS, ["a", "b"]).shape == (2,)


@torch.no_grad()
def test_a_row_scores_its_segments_as_if_each_were_alone(folder: Path) -> None:
    model = MiniForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = build_pair_tokenizer()
    pairs = [tokenizer(QUESTION, passage)["input_ids"] for passage in PASSAGES]
    rows = [pairs[0] + pairs[1] + pairs[2], pairs[2] + pairs[0]]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    labels = torch.tensor([[1], [0]])
    out = model(ids, (ids != 0).long(), labels=labels)
    alone = torch.stack([model(torch.tensor([pair])).logits[0, 0] for pair in pairs])
    expected = torch.stack([alone, alone.new_tensor([alone[2].item(), alone[0].item(), -1e4])])
    assert torch.allclose(out.logits, expected, atol=1e-4)
    loss = -(expected.log_softmax(-1)[0, 1] + expected.log_softmax(-1)[1, 0]) / 2
    assert out.loss.item() == pytest.approx(loss.item(), abs=1e-4)


def test_it_begins_as_the_reader_reads(folder: Path) -> None:
    torch.manual_seed(0)
    reader = initial_model().eval()
    model = MiniForSequenceClassification.from_pretrained(folder).eval()
    ids = torch.tensor([build_pair_tokenizer()(QUESTION, PASSAGES[0])["input_ids"]])
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(tensor, reader.encoder.state_dict()[name]), name
    assert not any(name.startswith("shared") for name in _saved(folder))
    assert torch.isfinite(model(ids).logits).all()


def _saved(folder: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        return list(file.keys())


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.json", "score.weight"])
def test_a_folder_that_lacks_something_is_one_clear_error(
    folder: Path, tmp_path: Path, missing: str
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    if (copy / missing).is_file():
        (copy / missing).unlink()
    else:
        weights = load_file(copy / "model.safetensors")
        save_file({k: v for k, v in weights.items() if k != missing}, copy / "model.safetensors")
    with pytest.raises(InputError, match=r"copy.*cannot be loaded"):
        Reranker.load(str(copy))
    (copy / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json"):
        Reranker.load(str(copy))


def test_any_cross_encoder_with_one_label_will_do(tmp_path: Path) -> None:
    tokenizer = build_pair_tokenizer()
    for labels in (1, 2):
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            num_labels=labels,  # type: ignore[call-arg]  # the base class takes it
        )
        torch.manual_seed(0)
        BertForSequenceClassification(config).save_pretrained(tmp_path / str(labels))
        tokenizer.save_pretrained(tmp_path / str(labels))
    other = Reranker.load(str(tmp_path / "1"))
    assert other.score(QUESTION, PASSAGES).shape == (3,)
    assert other.score("q " * 4 * MAX_TOKENS, ["a", "b"]).shape == (2,)
    with pytest.raises(InputError, match="one label"):
        Reranker.load(str(tmp_path / "2"))


def test_the_readers_weights_are_no_reranker() -> None:
    with pytest.raises(InputError, match="mini"):
        Reranker.load("mini")


def test_config_of_a_reranker_is_not_that_of_an_encoder_decoder(folder: Path) -> None:
    config = MiniRerankerConfig.from_pretrained(folder)
    assert (config.is_encoder_decoder, config.num_labels) == (False, 1)
