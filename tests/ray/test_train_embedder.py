"""An embedder trained on a store's own questions, published, and taken up by its name."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data_pipelines.artifacts import publish
from data_pipelines.config import IngestConfig
from data_pipelines.ingest_job import run_ingest
from data_pipelines.kb import KnowledgeBase
from data_pipelines.open_retriever import open_retriever
from data_pipelines.raft_publishing import parquet_bytes
from data_pipelines.reembed import reembed
from data_pipelines.schema import vector_matrix
from rayraft.config import load
from rayraft.errors import ConfigError, InputError, NotFoundError
from rayraft.manifests import Manifest
from rayraft.models.base import load_base
from rayraft.models.embedder import Embedder
from rayraft.models.embedder_tokenizer import EmbedderTokenizer
from rayraft.prompts import completion, prompt_digest
from rayraft.records import Passage, Question, RaftExample
from tests.ray.raft_store import documents, fee_questions
from tests.ray.tiny_models import save_embedder
from train.config import TrainConfig
from train.contrastive import RIGHT, WRONG, ContrastiveEncoder, export_encoder
from train.embedder import from_questions, from_raft, train_embedder
from train.embedder_command import summary
from train.embedder_config import EmbedderConfig
from train.embedder_measure import Found, Sought, figures, sought
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
    encoded = EncodedRows(table, 0, causal=False)
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
        encoded = EncodedRows(table, 0, causal=False)
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


def make_store(folder: Path, tiny: str) -> str:
    """The fees, found by a small embedder."""
    files = folder / "files"
    for document in documents():
        path = files / document.document_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {document.title}\n\n{document.text}\n")
    config = load(IngestConfig, None, [f"embedding.embedder={tiny}"])
    run_ingest([str(files)], str(folder / "store"), config)
    return str(folder / "store")


def test_raft_rows_teach_golden_chunks_against_their_own_distractors(
    tiny: str, tmp_path: Path
) -> None:
    store = make_store(tmp_path, tiny)
    kb = KnowledgeBase.open(store)
    chunks = [own[0] for own in kb.passages_by_document().values()][:4]
    made = []
    for number, has_golden in enumerate([True, False, True]):
        golden, shown = chunks[number], [p for i, p in enumerate(chunks) if i != number]
        made.append(
            RaftExample(
                example_id=str(number),
                chunk_id=golden.chunk_id if number < 2 else "gone:0",
                document_id=golden.document_id,
                question="What does it cost?",
                passages=[*shown[:1], golden, *shown[1:]] if has_golden else shown,
                golden_ids=[golden.chunk_id if number < 2 else "gone:0"],
                has_golden=has_golden,
                quote="",
                answer="7 euros",
                completion=completion("", "7 euros"),
                split="train",
            )
        )
    files: dict[str, bytes | Path] = {
        "train.parquet": parquet_bytes(made),
        "validation.parquet": parquet_bytes([]),
    }
    bound = Manifest(kind="raft", prompt_digest=prompt_digest(), kb_version=kb.version)
    publish(store, "raft", "r", files, bound)
    lessons = from_raft(store, "r", EmbedderConfig())
    by_id = {c.question.id: c for c in lessons.train}
    assert by_id.keys() == {"0", "1"}, "the third one's golden chunk is not there"
    for number in (0, 1):
        found = by_id[str(number)]
        assert found.right.text == chunks[number].text
        assert {p.chunk_id for p in found.wrong} == {
            p.chunk_id for i, p in enumerate(chunks) if i != number
        }
    assert (lessons.source, lessons.kb.version) == ("raft/r", kb.version)


@pytest.mark.usefixtures("ray_cluster")
def test_an_embedder_is_trained_published_and_taken_up(tiny: str, tmp_path: Path) -> None:
    store = make_store(tmp_path, tiny)
    config = load(
        EmbedderConfig,
        None,
        [
            *(f"train.base_model={tiny}", "group=4", "negatives=2", "candidates=8", "passes=2"),
            *("held_out=0.4", "train.workers.count=1", "train.precision=fp32", "train.lora.r=4"),
            *("train.max_steps=3", "train.learning_rate=0.01", "train.log_every_steps=1"),
        ],
    )
    lessons = from_questions(store, fee_questions(), "questions/fees", config)
    assert len(lessons.train) + len(lessons.held_out) == len(fee_questions())
    trained = train_embedder(store, config, "fees", lessons)
    assert trained.ref.artifact_id == "fees-v1"
    metrics = trained.manifest.metrics
    assert metrics["measured"] == len(lessons.held_out) > 0
    assert metrics["measured_chunks"] == KnowledgeBase.open(store).count_chunks()
    assert metrics["ndcg@10_low"] <= metrics["ndcg@10_change"] <= metrics["ndcg@10_high"]
    said = summary(trained)
    better = min(metrics["ndcg@10_low"], metrics["recall@4_low"]) > 0
    assert ("kb reembed --embedder fees-v1" in said) == better
    assert ("not better" in said) != better

    with pytest.raises(NotFoundError, match="no embedder 'fees-v2'; there is fees-v1"):
        reembed(store, "fees-v2")
    before = KnowledgeBase.open(store)
    reembed(store, "fees-v1")
    kb = KnowledgeBase.open(store)
    assert kb.embedder.name == "fees-v1" and kb.embedder.digest != before.embedder.digest
    new = Embedder.load(trained.ref.uri)
    table = kb.read_chunks(["search_text", "embedding"])
    expected = new.embed(table["search_text"].to_pylist())
    np.testing.assert_allclose(vector_matrix(table["embedding"]), expected, atol=1e-3)
    (hits,) = open_retriever(kb).search(["What does a parcel cost in Oslo?"], 3)
    assert len(hits) == 3
    added = tmp_path / "more" / "new.md"
    added.parent.mkdir()
    added.write_text("# Riga\n\nThe parcel fee in Riga is 88 euros.\n")
    run_ingest([str(added)], store, IngestConfig())
    again = KnowledgeBase.open(store)
    assert again.version > kb.version and again.embedder == kb.embedder
    assert sought(again, [], 4, at_most=5, seed=0).chunks.num_rows == 5
