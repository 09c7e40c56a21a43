"""Chunks tile the text and keep the token limit, whatever the text."""

import random
from itertools import pairwise

import pytest

from data_pipelines.chunking import chunk_document, chunk_spans
from rayraft.models.embedder_tokenizer import EmbedderTokenizer
from rayraft.records import Document

PIECES = [
    "word", "unbelievability", " ", "  ", "\n", "\n\n", "\n \n\n", "\t", ". ", "! ", "# Heading\n",
    "## Ünïcödé\n", "- item\n", "1. first\n", "| a | b |\n", "É́é", "漢字かな", "🙂", "a" * 150,
    "x9-_/" * 60, "\u200b", "\u00a0", "\r", "...", "Mr. Smith ", "3.14 ", "0" * 250, "don't ",
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> EmbedderTokenizer:
    return EmbedderTokenizer.load()


def random_text(seed: int) -> str:
    generator = random.Random(seed)
    weights = [generator.random() ** 3 for _ in PIECES]
    return "".join(generator.choices(PIECES, weights, k=generator.randint(1, 300)))


def assert_tiles(text: str, spans: list[tuple[int, int]]) -> None:
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    assert all(start < end for start, end in spans)
    assert all(before[1] == after[0] for before, after in pairwise(spans))


@pytest.mark.parametrize("seed", range(120))
def test_spans_tile_any_text_and_keep_the_limit(seed: int, tokenizer: EmbedderTokenizer):
    text = random_text(seed)
    limit = random.Random(seed + 1).choice([16, 40, 160])
    spans = chunk_spans(text, tokenizer, limit)

    if not text.strip():
        assert spans == []
        return
    assert_tiles(text, spans)
    assert tokenizer.count_tokens([text[start:end] for start, end in spans]).max() <= limit


@pytest.mark.parametrize("text", ["x" * 20_000, "ab12" * 5_000, "漢" * 3_000, "." * 5_000])
def test_long_unbroken_text_keeps_the_limit(text: str, tokenizer: EmbedderTokenizer):
    spans = chunk_spans(text, tokenizer, 160)

    assert_tiles(text, spans)
    assert len(spans) > 1
    assert tokenizer.count_tokens([text[start:end] for start, end in spans]).max() <= 160


@pytest.mark.parametrize("text", ["", " ", "\n\n \t\n"])
def test_blank_text_has_no_chunk(text: str, tokenizer: EmbedderTokenizer):
    assert chunk_spans(text, tokenizer, 160) == []


def test_a_text_that_fits_is_one_chunk(tokenizer: EmbedderTokenizer):
    text = "# A\n\nOne sentence. Another one.\n\n## B\n\nA third.\n"

    assert chunk_spans(text, tokenizer, 160) == [(0, len(text))]


def test_chunks_begin_at_headings_where_sections_are_long_enough(tokenizer: EmbedderTokenizer):
    section = "Nobody had seen the lake so calm before. " * 8  # 72 tokens
    text = "".join(f"## Part {i}\n\n{section}\n\n" for i in range(6))
    spans = chunk_spans(text, tokenizer, 100)

    assert [text[start:end].startswith("## Part") for start, end in spans] == [True] * 6


def test_sentences_are_kept_whole_where_they_fit(tokenizer: EmbedderTokenizer):
    sentence = "The treasury of the shop fixed new rates in the morning. "
    text = sentence * 60

    for start, end in chunk_spans(text, tokenizer, 60)[:-1]:
        assert text[start:end].startswith("The ")
        assert text[start:end].endswith("morning. ")


def test_words_are_kept_whole_where_they_fit(tokenizer: EmbedderTokenizer):
    text = "unbelievability " * 300

    assert all(text[end - 1] == " " for _, end in chunk_spans(text, tokenizer, 50))


def test_chunks_carry_what_the_document_says_of_itself(tokenizer: EmbedderTokenizer):
    document = Document(
        document_id="a/b.md",
        title="T",
        text="One two three. " * 100,
        metadata={"region": "VN-HN"},
        acl=["staff"],
    )
    chunks = chunk_document(document, tokenizer, 50)

    assert len(chunks) > 1
    assert "".join(chunk.text for chunk in chunks) == document.text
    assert [chunk.position for chunk in chunks] == list(range(len(chunks)))
    assert len({chunk.chunk_id for chunk in chunks}) == len(chunks)
    for chunk in chunks:
        assert chunk.text == document.text[chunk.start : chunk.end]
        assert (chunk.document_id, chunk.title) == ("a/b.md", "T")
        assert (chunk.metadata, chunk.acl) == ({"region": "VN-HN"}, ["staff"])
