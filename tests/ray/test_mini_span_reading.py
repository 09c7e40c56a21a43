"""The shipped reader chooses among spans: verbatim quotes, whole words, true scores."""

from typing import Any

import pytest
import torch

from rayraft.answer_text import restore_spelling
from rayraft.mini.modeling import MiniForConditionalGeneration
from rayraft.mini.scoring import answer_log_probs
from rayraft.mini.span_reading import SpanReader, span_reader
from rayraft.models.base import load_base
from rayraft.models.rendering import render_completion, render_prompt
from rayraft.models.text import TextModel
from rayraft.prompts import (
    answer_messages,
    completion,
    find_citations,
    parse_answer,
    question_messages,
)
from rayraft.records import Passage
from rayraft.writing import Row

PASSAGES = [
    Passage(
        chunk_id=f"c{number}", document_id=f"d{number}", title=title, text=text, start=10 * number
    )
    for number, (title, text) in enumerate(
        [
            (
                "Kettle K2",
                "The Model K2 kettle has a warranty of two years from the date of purchase. "
                "Descale it every 30 days with vinegar. It holds 1.7 litres.",
            ),
            (
                "Returns",
                "Goods may be returned within 14 days. Dr. Smith of the U.S. office decides on "
                "exceptions for Hà Nội and Đà Nẵng.",
            ),
            ("", "##begin_quote## and [SEP] are no words. The fee is 250,000 dong."),
        ]
    )
]
ASKED = [
    "How long is the warranty of the kettle?",
    "How much does the kettle hold?",
    "Who decides on exceptions?",
    "Within how many days may goods be returned?",
    "How much is the fee?",
]


@pytest.fixture(scope="module")
def model() -> TextModel:
    return TextModel.load("mini", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def reader() -> SpanReader:
    base = load_base("mini", "float32")
    made = span_reader(base.model.eval(), base.tokenizer)
    assert made is not None
    return made


def test_answers_stand_in_a_passage_and_their_quotes_are_cited(model: TextModel) -> None:
    for output, question in zip(
        model.generate([answer_messages(q, PASSAGES) for q in ASKED]), ASKED, strict=True
    ):
        said = parse_answer(output.text)
        assert not said.abstained, question
        citations = find_citations(said.quotes, PASSAGES)
        assert len(citations) == 1, (question, said)
        quote = citations[0].quote
        assert restore_spelling(said.text, [quote]) in quote, said


def test_it_answers_and_abstains(model: TextModel) -> None:
    asked = [ASKED[0], "Which river flows through the capital of Mongolia?"]
    answers = [
        parse_answer(output.text)
        for output in model.generate([answer_messages(q, PASSAGES[:2]) for q in asked])
    ]
    assert answers[0].text == "two years"
    assert answers[1].abstained


def test_scores_are_those_of_the_model_given_the_output_before(reader: SpanReader) -> None:
    base = load_base("mini", "float32")
    model = base.model.eval()
    assert isinstance(model, MiniForConditionalGeneration)
    prompt = render_prompt(base.tokenizer, answer_messages(ASKED[0], PASSAGES), True)
    quote = "It holds 1.7 litres."
    said = [(quote, "1.7 litres"), ("", ""), (quote, "litres"), ("", "xyzzy 9"), (quote, "It")]
    outputs = [render_completion(base.tokenizer, completion(*each)) for each in said]
    with torch.inference_mode():
        ids = torch.tensor([prompt])
        scored = answer_log_probs(model, model.encoder(ids), outputs)
        for output, own in zip(outputs, scored, strict=True):
            given = torch.tensor([[model.config.decoder_start_token_id, *output[:-1]]])
            log = model(input_ids=ids, decoder_input_ids=given).logits[0]
            each = log.gather(1, torch.tensor(output)[:, None])[:, 0]
            start = output.index(model.config.answer_token_id)
            torch.testing.assert_close(own, each[start:], atol=1e-3, rtol=1e-3)


def test_what_is_no_reading_is_written_word_by_word(reader: SpanReader) -> None:
    tokenizer = load_base("mini", "float32").tokenizer
    for messages in [
        answer_messages(ASKED[0], []),
        question_messages("Kettle K2", PASSAGES[0].text, "two years"),
    ]:
        prompt = render_prompt(tokenizer, messages, True)
        assert reader.read(messages, prompt, 96) is None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Does the kettle have a warranty of two years?", "yes"),
        ("Warranty of the kettle: is it two years?", "yes"),
        ("How long is the warranty of the kettle?", "two years"),
    ],
)
def test_yes_and_no_can_be_chosen_where_the_question_asks_for_them(
    reader: SpanReader, monkeypatch: pytest.MonkeyPatch, question: str, answer: str
) -> None:
    tokenizer = load_base("mini", "float32").tokenizer
    (yes,) = tokenizer("yes", add_special_tokens=False)["input_ids"]

    def agreeing(*given: Any) -> list[torch.Tensor]:  # as an adapter that learned verdicts
        scored = answer_log_probs(*given)
        return [s * 0 if yes in tokens else s for s, tokens in zip(scored, given[2], strict=True)]

    monkeypatch.setattr("rayraft.mini.span_reading.answer_log_probs", agreeing)
    messages = answer_messages(question, PASSAGES[:1])
    with torch.inference_mode():
        reading = reader.read(messages, render_prompt(tokenizer, messages, True), 96)
    assert reading is not None
    said = parse_answer(str(tokenizer.decode(reading.tokens)).removesuffix(" [SEP]"))
    assert said.text == answer
    assert find_citations(said.quotes, PASSAGES[:1])


def test_an_answer_longer_than_allowed_is_not_chosen(model: TextModel) -> None:
    (output,) = model.generate([answer_messages(ASKED[0], PASSAGES)], max_new_tokens=12)
    assert output.completion_tokens <= 12


def test_rows_are_read_one_by_one_whoever_is_beside_them(model: TextModel) -> None:
    heard: list[str] = []
    reading = Row(answer_messages(ASKED[1], PASSAGES), on_text=heard.append)
    writing = Row(question_messages("Kettle K2", PASSAGES[0].text, "two years"))
    left = Row(answer_messages(ASKED[2], PASSAGES), wanted=lambda: False)
    together = model.generate_rows([writing, reading, left])
    (alone,) = model.generate_rows([Row(reading.messages)])
    assert together[1] == alone
    assert "".join(heard) == alone.text
    assert together[1].mean_logprob is not None and together[1].mean_logprob <= 0
    assert together[0].text.endswith("?")
