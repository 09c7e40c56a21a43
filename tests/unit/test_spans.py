import pytest

from data_pipelines.answer_spans import choose_answer_spans, sentence_candidates
from rayraft.sentences import Span, quote_around, split_sentences

TEXT = (
    "# Delivery in the North\n"
    "Dr. Ada Byron of the Royal Society set the fee at EUR 15.20 per month on 3 January 1521. "
    "It rose to $3.5 million (see No. 7) after 65.5 million years, e.g. in the U.S. market!\n"
    'Returns are accepted within 14 days\nof the delivery by the "goodwill desk" in Hanoi.\n'
    "- Batteries are excluded from every return.\n"
    "| region | limit |\n"
    "| North | a limit of 20 parcels per customer |\n"
)


def texts(text):
    return [text[span.start : span.end] for span in split_sentences(text)]


def test_sentences_end_at_sentence_ends_and_not_at_abbreviations():
    assert texts(TEXT) == [
        "Delivery in the North",
        "Dr. Ada Byron of the Royal Society set the fee at EUR 15.20 per month on 3 January 1521.",
        "It rose to $3.5 million (see No. 7) after 65.5 million years, e.g. in the U.S. market!",
        'Returns are accepted within 14 days\nof the delivery by the "goodwill desk" in Hanoi.',
        "Batteries are excluded from every return.",
        "region | limit",
        "North | a limit of 20 parcels per customer",
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "# ", "- \n- ", "|", "..."])
def test_texts_without_a_statement_give_no_answer_span(text):
    assert choose_answer_spans(text, 5, 0, "c") == []


def candidates(text):
    (sentence,) = split_sentences(text)
    return {c.text: c.kind for c in sentence_candidates(text, sentence)}


def test_each_kind_is_found_with_the_words_that_belong_to_it():
    found = candidates(
        "On 3 January 1521 Pope Leo the Tenth paid EUR 15.20 per month for 65.5 million years, "
        'and called it a "cold day" of the secret council in Rome.'
    )
    assert found["3 January 1521"] == "date"
    assert found["Pope Leo the Tenth"] == "name"
    assert found["EUR 15.20"] == "number"
    assert found["65.5 million years"] == "number"
    assert found["cold day"] == "quoted"
    assert found["secret council"] == "phrase"
    assert found["Rome"] == "name"


def test_the_first_word_of_a_sentence_is_no_name():
    assert "name" not in candidates("Returns are accepted by every shop within the town.").values()


@pytest.mark.parametrize("chunk_id", [f"c{i}" for i in range(20)])
def test_every_span_is_verbatim_and_lies_in_its_sentence(chunk_id):
    spans = choose_answer_spans(TEXT, 12, 3, chunk_id)
    assert len(spans) == 12
    for chosen in spans:
        assert TEXT[chosen.span.start : chosen.span.end] == chosen.text
        assert chosen.sentence.start <= chosen.span.start
        assert chosen.span.end <= chosen.sentence.end
    assert len({chosen.text.lower() for chosen in spans}) == len(spans)


def test_sentences_take_turns_before_any_gives_a_second_span():
    spans = choose_answer_spans(TEXT, 4, 0, "c")
    assert len({chosen.sentence for chosen in spans}) == 4


@pytest.mark.parametrize("seed", range(8))
def test_lone_words_come_after_everything_else(seed):
    text = "The Royal Society meets often. Members pay 15 euros. They vote by raising hands slowly."
    kinds = [chosen.kind for chosen in choose_answer_spans(text, 12, seed, "c")]
    assert "word" in kinds and kinds == sorted(kinds, key="word".__eq__)


def test_what_a_possessive_leaves_is_no_phrase():
    found = candidates("It follows the First Minister's legislative programme in every year.")
    assert found["legislative programme"] == "phrase"


def test_choice_depends_on_seed_and_chunk_alone():
    assert choose_answer_spans(TEXT, 4, 1, "c") == choose_answer_spans(TEXT, 4, 1, "c")
    others = [choose_answer_spans(TEXT, 4, 1, f"c{i}") for i in range(10)]
    others += [choose_answer_spans(TEXT, 4, i, "c") for i in range(2, 12)]
    assert len({tuple(c.text for c in spans) for spans in others}) > 10


def test_fewer_wanted_are_the_first_of_more():
    many = choose_answer_spans(TEXT, 10, 5, "c")
    assert choose_answer_spans(TEXT, 3, 5, "c") == many[:3]


def test_a_short_sentence_is_quoted_whole():
    text = "It costs 5 euros."
    assert quote_around(text, Span(0, 17), Span(9, 16), 40) == text


@pytest.mark.parametrize("at", range(0, 60, 3))
def test_a_long_sentence_is_cut_to_whole_words_around_the_answer(at):
    words = [f"word{i:02d}" for i in range(60)]
    text = " ".join(words)
    start = text.index(words[at])
    quote = quote_around(text, Span(0, len(text)), Span(start, start + 6), 50)
    assert words[at] in quote
    assert len(quote) <= 50
    assert f" {quote} " in f" {text} "


def test_an_answer_longer_than_the_limit_stays_whole():
    text = "a " * 10 + "answer of many words" + " b" * 10
    start = text.index("answer")
    assert quote_around(text, Span(0, len(text)), Span(start, start + 20), 5) == (
        "answer of many words"
    )
