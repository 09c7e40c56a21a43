"""Answers from several prompts: against Transformers' RAG models, and against plain generation."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    DPRConfig,
    DPRQuestionEncoder,
    RagConfig,
    RagSequenceForGeneration,
    RagTokenForGeneration,
    T5ForConditionalGeneration,
)

from rayraft.models.combined import split_reasoning
from rayraft.models.decoding import Decoding
from rayraft.models.mixing import log_shares, mix, sequence_score, token_score
from rayraft.models.text import TextModel
from rayraft.prompts import ANSWER, Message, answer_messages
from rayraft.protocols import Combine, View
from rayraft.records import Passage
from rayraft.writing import Row
from tests.ray.tiny_models import WORDS, save_causal, save_seq2seq

PROMPTS: list[list[Message]] = [
    [{"role": "user", "content": "w1 w2 w3"}],
    [{"role": "user", "content": "w4 w5 w6 w7 w8 w9 w10 w11"}],
    [{"role": "user", "content": "w12"}],
]
WEIGHTS = [0.2, 0.5, 0.3]
TARGET = [7, 9, 30, 12, 1]


@pytest.fixture(scope="module", params=["seq2seq", "causal"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    folder = tmp_path_factory.mktemp(request.param)
    (save_seq2seq if request.param == "seq2seq" else save_causal)(folder)
    return TextModel.load(str(folder), device="cpu", dtype="float32")


def views(*weights: float) -> list[View]:
    return [View(p, weight=w) for p, w in zip(PROMPTS, weights, strict=False)]


def decodings(model: TextModel, prompts: list[list[Message]]) -> list[Decoding]:
    return [Decoding(model._model, model._codec.render(p, 8)) for p in prompts]


@torch.no_grad()
def test_scores_are_those_of_transformers_rag_models(tmp_path: Path) -> None:
    folder = save_seq2seq(tmp_path)
    generator = T5ForConditionalGeneration.from_pretrained(folder).eval()
    weights = {name: weight.clone() for name, weight in generator.state_dict().items()}
    generator.config.bos_token_id = None  # the RAG classes read it of every generator
    sizes: Any = {"hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1}
    encoder = DPRQuestionEncoder(DPRConfig(vocab_size=8, intermediate_size=8, **sizes))
    config = RagConfig.from_question_encoder_generator_configs(
        encoder.config, generator.config, n_docs=3, bos_token_id=None
    )
    ours = TextModel.load(folder, device="cpu", dtype="float32")
    rows = [ours._codec.render(prompt, 8) for prompt in PROMPTS]
    batch = ours._codec.inputs(rows)
    # T5's own start token is the first of the target that these classes are given.
    target = torch.tensor([[0, *TARGET]])
    scores = torch.tensor([WEIGHTS]).log()
    asked = {
        "context_input_ids": batch["input_ids"],
        "context_attention_mask": batch["attention_mask"],
        "doc_scores": scores,
        "decoder_input_ids": target,
        "n_docs": 3,
    }
    target_log_probs = torch.stack([d.score(TARGET) for d in decodings(ours, PROMPTS)])
    shares = log_shares(WEIGHTS)
    for cls, score in (
        (RagSequenceForGeneration, sequence_score),
        (RagTokenForGeneration, token_score),
    ):
        rag = cls(config=config, question_encoder=encoder, generator=generator).eval()
        # These classes may draw the weights of what they are given anew.
        rag.generator.load_state_dict(weights)
        logits = rag(**asked).logits
        theirs = -rag.get_nll(logits, scores, target, n_docs=3)
        assert float(score(target_log_probs, shares)) == pytest.approx(float(theirs), abs=1e-4)


@torch.inference_mode()
def test_feeding_tokens_one_by_one_gives_the_scores_of_one_pass(model: TextModel) -> None:
    (whole, steps) = (decodings(model, PROMPTS[:1])[0] for _ in range(2))
    expected = whole.score(TARGET)
    assert torch.equal(whole.score(TARGET), expected), "scoring writes nothing"
    single: list[Tensor] = []
    for token in TARGET:
        single.append(steps.log_probs[token])
        steps.feed([token])
    torch.testing.assert_close(torch.stack(single), expected)
    begun = Decoding(model._model, model._codec.render(PROMPTS[0], 8), TARGET[:2])
    torch.testing.assert_close(begun.score(TARGET[2:]), expected[2:])


@torch.inference_mode()
def test_mixed_tokens_are_the_likeliest_of_the_mixture(model: TextModel) -> None:
    """Against the definition: every step anew, without a cache."""
    written: list[int] = []
    while len(written) < 6:
        each = [Decoding(model._model, model._codec.render(p, 8), written) for p in PROMPTS]
        mixed = sum(w * d.log_probs.exp() for w, d in zip(WEIGHTS, each, strict=True))
        written.append(int(torch.as_tensor(mixed).argmax()))
        if written[-1] in model._codec.end_ids:
            break
    made = model.generate_combined(views(*WEIGHTS), "rag_token", max_new_tokens=6)
    assert made.text == model._codec.decode(written)
    alone = {o.text for o in model.generate(PROMPTS, max_new_tokens=6)}
    assert len(alone) > 1, "else the views would agree, and nothing be mixed"


@torch.inference_mode()
def test_the_likeliest_answer_is_chosen_over_all_prompts(model: TextModel) -> None:
    rendered = [model._codec.render(p, 6) for p in PROMPTS]
    with model._turns:
        drafts = [
            model._write([Row(p, 6)], [ids], None)[0]
            for p, ids in zip(PROMPTS, rendered, strict=True)
        ]
    shares = log_shares(WEIGHTS)
    scores = [
        float(sequence_score(torch.stack([d.score(c) for d in decodings(model, PROMPTS)]), shares))
        for c in drafts
    ]
    made = model.generate_combined(views(*WEIGHTS), "rag_sequence", max_new_tokens=6)
    assert made.text == model._codec.decode(drafts[max(range(3), key=scores.__getitem__)])
    assert made.prompt_tokens == sum(len(ids) for ids in rendered)


@pytest.mark.parametrize("combine", ["blend", "rag_token"])
def test_a_prompt_with_all_the_weight_answers_as_if_alone(
    model: TextModel, combine: Combine
) -> None:
    alone = model.generate(PROMPTS, max_new_tokens=6)
    for one in range(3):
        weights = [1.0 if i == one else 1e-12 for i in range(3)]
        made = model.generate_combined(views(*weights), combine, max_new_tokens=6)
        assert made.text == alone[one].text


def test_a_mixture_is_a_distribution() -> None:
    log_probs = torch.randn(3, 4, len(WORDS)).log_softmax(-1)
    mixed = mix(log_probs, log_shares(WEIGHTS))
    torch.testing.assert_close(mixed.exp().sum(-1), torch.ones(4))
    expected = sum(w * p.exp() for w, p in zip(WEIGHTS, log_probs, strict=True))
    torch.testing.assert_close(mixed.exp(), torch.as_tensor(expected))


def test_reasoning_ends_with_the_marker() -> None:
    words = ["quote", ANSWER, "five", "euros"]

    def decode(tokens: list[int]) -> str:
        return " ".join(words[token] for token in tokens)

    assert split_reasoning([0, 1, 2, 3], decode) == 2
    assert split_reasoning([0, 2, 3], decode) == 0
    assert split_reasoning([0, 1], decode) == 0, "a marker with nothing after it begins no answer"


def test_the_shipped_reader_takes_the_answer_from_the_passage_that_holds_it() -> None:
    model = TextModel.load("mini", device="cpu", dtype="float32")
    texts = ["The fee for a permit is 250 euros.", "Dogs must be kept on a lead in the park."]
    shown = [Passage(chunk_id=t, document_id="d", title="", text=t) for t in texts]
    question = "How much is the fee for a permit?"
    single = [View(answer_messages(question, [p]), weight=0.5) for p in shown]
    modes: tuple[Combine, Combine] = ("rag_token", "rag_sequence")
    for combine in modes:
        made = model.generate_combined(single, combine)
        assert made.text.endswith("250 euros") and "fee for a permit" in made.text
    (read,) = model.generate([answer_messages(question, shown)])
    sides = [
        View(answer_messages(question, []), weight=0.2),
        View(answer_messages(question, shown), weight=0.8),
    ]
    assert model.generate_combined(sides, "blend").text == read.text
