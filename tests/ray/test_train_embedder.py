"""An embedder trained on a store's own questions, published, and taken up by its name."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rayraft.config import load
from rayraft.errors import ConfigError, InputError
from rayraft.models.base import load_base
from rayraft.models.embedder import Embedder
from rayraft.models.embedder_tokenizer import EmbedderTokenizer
from rayraft.records import Passage, Question
from tests.ray.tiny_models import save_embedder
from train.config import TrainConfig
from train.contrastive import RIGHT, WRONG, ContrastiveEncoder, export_encoder
from train.embedder_config import EmbedderConfig
from train.embedder_measure import Found, Sought, figures
from train.embedder_rows import group_features, groups, relations
from train.features import IGNORED
from train.loop import Hooks, Task, World, run
from train.modeling import load_to_train, prepare_model
from train.rerank_rows import Contrast
from train.rows import EncodedRows


def passage(name: str, text: str) -> Passage:
    return Passage(chunk_id=f"{name}:0", document_id=name, title=f"w{len(text)}", text=text)


def contrast(number: int, *wrong: Passage) -> Contrast:
    text = f"w{number} w{number + 1} w{number + 2}"
    asked = Question(
        id=str(number), question=f"w{number} w40", answers=[text], gold_ids=[f"d{number}"]
    )
    return Contrast(asked, passage(f"d{number}", text), list(wrong))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_embedder(tmp_path_factory.mktemp("bert"))


def schedule(tiny: str, *overrides: str) -> TrainConfig:
    return load(
        EmbedderConfig,
        None,
        [f"train.base_model={tiny}", "train.precision=fp32", "train.lora.r=4", *overrides],
    ).train


def test_every_question_is_once_in_a_pass_and_in_other_company_in_the_next() -> None:
    rows = [contrast(i) for i in range(11)]
    made = list(groups(rows, size=4, passes=2, seed=0))
    assert [len(group) for group in made] == [4, 4, 3] * 2
    ids = [[row.question.id for row in group] for group in made]
    for half in (ids[:3], ids[3:]):
        assert sorted((i for group in half for i in group), key=int) == [str(i) for i in range(11)]
    assert {frozenset(group) for group in ids[:3]} != {frozenset(group) for group in ids[3:]}
    assert list(groups(rows, 4, 2, seed=0)) == made


def test_what_may_answer_as_well_is_neither_right_nor_wrong() -> None:
    first = contrast(1, passage("x", "w9"))
    same_document = Contrast(contrast(2).question, passage("d1", "w8"), [])
    holds_it = Contrast(contrast(3).question, passage("y", f"w7 {first.right.text}"), [])
    group = [first, same_document, holds_it]
    shown = [first.right, *first.wrong, same_document.right, holds_it.right]
    assert len({p.chunk_id for p in shown}) == 3, "d1's two texts are one chunk in this test"
    shown[2] = shown[2].model_copy(update={"chunk_id": "d1:1"})
    group[1] = Contrast(same_document.question, shown[2], [])
    matrix = np.array(relations(group, shown)).reshape(3, 4)
    assert matrix[0].tolist() == [RIGHT, WRONG, IGNORED, IGNORED]
    assert matrix[1].tolist() == [WRONG, WRONG, RIGHT, WRONG]
    assert matrix[2].tolist() == [WRONG, WRONG, WRONG, RIGHT]


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_the_loss_is_info_nce_over_what_the_embedder_says(tiny: str, tuning: str) -> None:
    config = schedule(tiny, f"train.tuning={tuning}")
    rows = [contrast(i, passage(f"n{i}", f"w{i + 30} [CLS] w3")) for i in range(5)]
    embedder = Embedder.load(tiny, dtype="float32")
    table = group_features(groups(rows, 3, 1, seed=0), embedder.tokenizer, 64, negatives=1)
    encoded = EncodedRows([table], 0, causal=False)
    model = prepare_model(load_to_train(config), config).eval()
    losses = []
    for number, group in enumerate(groups(rows, 3, 1, seed=0)):
        shown = [p for row in group for p in (row.right, *row.wrong)]
        texts = [f"{p.title}\n{p.text.replace('[CLS] ', '')}" for p in shown]
        asked = embedder.embed([row.question.question for row in group])
        similar = torch.from_numpy(asked @ embedder.embed(texts).T) / 0.05
        assert IGNORED not in relations(group, shown)
        right = torch.tensor([shown.index(row.right) for row in group])
        expected = torch.nn.functional.cross_entropy(similar, right)
        inputs = {k: torch.from_numpy(v) for k, v in encoded.batch(np.array([number])).items()}
        losses.append(model(**inputs).loss)
        torch.testing.assert_close(losses[-1], expected, rtol=1e-4, atol=1e-4)
    both = {k: torch.from_numpy(v) for k, v in encoded.batch(np.arange(len(encoded))).items()}
    weights = torch.from_numpy(encoded.lengths.supervised).float()
    together = (torch.stack(losses) * weights).sum() / weights.sum()
    torch.testing.assert_close(model(**both).loss, together, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_the_exported_embedder_is_the_trained_one(tiny: str, tmp_path: Path, tuning: str) -> None:
    config = schedule(tiny, f"train.tuning={tuning}")
    model, fresh = (prepare_model(load_to_train(config), config) for _ in range(2))
    assert isinstance(model, ContrastiveEncoder) and isinstance(fresh, ContrastiveEncoder)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert all("lora_" in name for name in trained) == (tuning == "lora")
    weights = {name: torch.randn_like(p) * 0.3 for name, p in trained.items()}
    model.load_state_dict(weights, strict=False)
    export_encoder(fresh, weights, tiny, tmp_path)
    texts = ["w1 w2 w3", "w40 w2"]
    ids = [torch.tensor(i) for i in EmbedderTokenizer.load(tiny).encode(texts)]
    with torch.no_grad():
        expected = model.eval()._embed(ids).numpy()
    found = Embedder.load(str(tmp_path), dtype="float32").embed(texts)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found - Embedder.load(tiny, dtype="float32").embed(texts)).max() > 0.01


def test_the_common_loop_teaches_groups_whatever_the_micro_batches(alone: World, tiny: str) -> None:
    rows = [contrast(i, passage(f"n{i}", f"w{i + 20} w3")) for i in range(16)]
    tokenizer = EmbedderTokenizer.load(tiny)
    table = group_features(groups(rows, 4, 2, seed=0), tokenizer, 64, negatives=1)
    losses = []
    for budget in (4096, 256):
        config = schedule(
            tiny,
            *(f"train.micro_batch_tokens={budget}", "train.max_prompt_tokens=64"),
            *("train.max_completion_tokens=32", "train.max_steps=6", "train.log_every_steps=1"),
            *("train.workers.count=1", "train.learning_rate=0.02", "train.global_batch_size=4"),
        )
        model = prepare_model(load_to_train(config), config)
        points: list[dict[str, float]] = []
        encoded = EncodedRows([table], 0, causal=False)
        task = Task(config, model, encoded, encoded, "print")
        run(task, alone, Hooks(points.append, lambda *_: None))
        losses.append([point["loss"] for point in points if "loss" in point])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert losses[0][-1] < losses[0][0]


def test_an_embedder_is_no_base_of_a_model_that_writes(tiny: str) -> None:
    for name in ("minilm", tiny):
        with pytest.raises(InputError, match="is an embedder"):
            load_base(name, "fp32")
    with pytest.raises(ConfigError, match="contrastive_temperature"):
        schedule(tiny, "train.contrastive_temperature=null")


def test_measures_are_of_the_ranking_and_say_by_how_much_it_changed(tiny: str) -> None:
    class Hot:
        """Puts text i at axis i; asked for w1, it finds what `shift` says."""

        def __init__(self, shift: int) -> None:
            self.shift = shift
            self.spec = EmbedderTokenizer.load(tiny).spec

        def embed(self, texts: list[str]) -> np.ndarray:
            at = [(int(t.split()[0][1:]) + self.shift * ("?" in t)) % 8 for t in texts]
            return np.eye(8, dtype=np.float32)[at]

    import pyarrow as pa

    chunks = pa.table(
        {
            "document_id": [f"d{i}" for i in range(8)],
            "search_text": [f"w{i} text" for i in range(8)],
        }
    )
    asked = [
        Question(id=str(i), question=f"w{i} ?", answers=["a"], gold_ids=[f"d{i}"]) for i in range(8)
    ]
    what = Sought(asked, chunks, "another digest", k=1)
    found = [what.by(Hot(shift)) for shift in (1, 0)]  # type: ignore[arg-type]
    assert found[1] == Found([1.0] * 8, [1.0] * 8)
    made = figures(found[0], found[1], k=1)
    assert made["recall@1_before"] < 0.5 and made["recall@1_after"] == 1.0
    assert made["recall@1_low"] > 0 and made["ndcg@10_low"] > 0
    assert figures(found[1], found[1], k=1)["ndcg@10_low"] == 0.0
