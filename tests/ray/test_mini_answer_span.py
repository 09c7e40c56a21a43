"""Where the mini model sees the answer, against plain searches."""

import math

import pytest
import torch
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from rayraft.mini.answer_span import MARK_SCALE, AnswerSpan, span_loss
from rayraft.mini.configuration import MiniConfig
from rayraft.mini.copying import copied_from
from rayraft.mini.initial import initial_model
from rayraft.mini.modeling import MiniForConditionalGeneration
from rayraft.mini.packing import Layout, Source
from rayraft.mini.tokenizer import build_tokenizer
from rayraft.models.rendering import render_completion, render_prompt
from rayraft.prompts import ABSTAIN, answer_messages, completion, question_messages
from rayraft.records import Passage

NORMANS = Passage(chunk_id="a", document_id="a", title="Normans", text="They came in 1066.")
OXYGEN = Passage(chunk_id="b", document_id="b", title="Oxygen", text="A gas that we breathe.")
QUESTION = "When did the Normans come?"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return build_tokenizer()


@pytest.fixture(scope="module")
def model() -> MiniForConditionalGeneration:
    torch.manual_seed(0)
    made = initial_model()
    made.eval()
    return made


def padded(rows: list[list[int]], padding: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [padding] * (width - len(row)) for row in rows])


def sources(tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    rows = [
        render_prompt(tokenizer, answer_messages(QUESTION, [OXYGEN, NORMANS]), True),
        render_prompt(tokenizer, answer_messages(QUESTION, [OXYGEN]), True),
        render_prompt(tokenizer, question_messages("Normans", NORMANS.text, "1066"), True),
        render_prompt(tokenizer, answer_messages(QUESTION, []), True),
    ]
    return padded(rows, 0)


def targets(tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    texts = [completion(NORMANS.text, "1066"), completion("", ""), QUESTION, f"{ABSTAIN} 1066"]
    return padded([render_completion(tokenizer, text) for text in texts], -100)


@torch.no_grad()
def test_places_are_in_passages_and_their_probabilities_sum_to_one(
    model: MiniForConditionalGeneration, tokenizer: PreTrainedTokenizerBase
) -> None:
    ids = sources(tokenizer)
    log = model.encoder(ids, (ids != 0).long()).span_log
    assert torch.allclose(log.exp().sum(1), torch.ones(4, 2), atol=1e-5)
    for row, places in zip(ids.tolist(), log[:, :-1, 0].exp() > 0, strict=True):
        text = " ".join(tokenizer.convert_ids_to_tokens([token for token in row if token]))
        segments = [part.split("[SEP]") for part in text.split("[CLS]")[1:]]
        passages = "".join(f" {segment[1]}" for segment in segments if len(segment) > 1)
        found = [token for token, place in zip(row, places.tolist(), strict=True) if place]
        assert tokenizer.convert_ids_to_tokens(found) == passages.split()


def test_the_loss_is_of_the_first_and_the_last_token_of_the_answer(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    config = MiniConfig()
    ids, labels = sources(tokenizer), targets(tokenizer)
    generator = torch.Generator().manual_seed(0)
    log = torch.randn(4, ids.shape[1] + 1, 2, generator=generator).log_softmax(1)
    (year,) = tokenizer.encode("1066", add_special_tokens=False)[:1]
    first, last = (place for place in _places(ids[0].tolist(), tokenizer, "1066"))
    assert ids[0, first] == year
    answered = -(log[0, first, 0] + log[0, last, 1]) / 2
    abstained = -log[1, -1].mean()
    # A written question and an abstention without its marker have no span.
    found = span_loss(log, labels, copied_from(labels, ids), config)
    assert found.item() == pytest.approx((answered + abstained).item(), rel=1e-5)


def _places(row: list[int], tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, int]:
    pieces = tokenizer.encode(text, add_special_tokens=False)
    starts = [i for i in range(len(row)) if row[i : i + len(pieces)] == pieces]
    assert len(starts) == 1
    return starts[0], starts[0] + len(pieces) - 1


def test_states_are_marked_by_how_likely_they_lie_in_the_answer() -> None:
    config = MiniConfig(hidden_size=4, num_attention_heads=1)
    span = AnswerSpan(config)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in span.parameters():
            parameter.normal_()
    cls, sep = config.cls_token_id, config.eos_token_id
    ids = torch.tensor([[cls, 7, sep, 8, 9, 6, sep, cls, 7, sep, 5, sep]])
    offset = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4])
    segment = torch.tensor([0] * 7 + [1] * 5)
    flat = torch.arange(14)[torch.tensor([True] * 12 + [False] * 2)]
    source = Source(ids[0], segment, offset, Layout(1, 12, None), Layout(2, 7, flat))
    x = torch.randn(12, 4)
    marked, log = span(x, source)
    start, end = log[0].exp().unbind(-1)
    for i in range(12):
        mine = range(7) if i < 7 else range(7, 12)
        inside = sum(start[j] for j in mine if j <= i) * sum(end[j] for j in mine if j >= i)
        marks = MARK_SCALE * span.marks
        expected = x[i] + inside * marks[0] + start[-1] * marks[1]
        assert torch.allclose(marked[i], expected, atol=1e-5)


def test_training_moves_the_probability_to_the_answer(tokenizer: PreTrainedTokenizerBase) -> None:
    torch.manual_seed(0)
    model = initial_model()
    ids, labels = sources(tokenizer), targets(tokenizer)
    batch = {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    for _ in range(12):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    log = model.encoder(ids, (ids != 0).long()).span_log
    first, last = _places(ids[0].tolist(), tokenizer, "1066")
    assert min(log[0, first, 0], log[0, last, 1], *log[1, -1]) > math.log(0.5)
