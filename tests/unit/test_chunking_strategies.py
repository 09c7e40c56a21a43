"""Strategies of cutting, and tables, which are kept whole where they fit."""

import random
from itertools import pairwise
from typing import get_args

import pytest

from data_pipelines.chunking import chunk_spans
from data_pipelines.config import ChunkingConfig, Strategy
from rayraft.models.embedder_tokenizer import EmbedderTokenizer

SENTENCE = "The treasury of the shop fixed new rates. "
ROW = "| Hanoi | 45 days |\n"


@pytest.fixture(scope="module")
def tokenizer() -> EmbedderTokenizer:
    return EmbedderTokenizer.load()


def cut(
    text: str, tokenizer: EmbedderTokenizer, tokens: int, strategy: Strategy = "heading"
) -> list[str]:
    spans = chunk_spans(text, tokenizer, tokens, strategy)
    assert (spans[0][0], spans[-1][1]) == (0, len(text))
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    chunks = [text[start:end] for start, end in spans]
    assert tokenizer.count_tokens(chunks).max() <= tokens
    return chunks


def test_fixed_chunks_are_full_and_sentence_chunks_are_whole(tokenizer: EmbedderTokenizer):
    text = "".join(f"## Part {n}\n\n{SENTENCE * 4}\n\n" for n in range(8))
    fixed = cut(text, tokenizer, 50, "fixed")
    assert min(tokenizer.count_tokens(fixed[:-1])) >= 49
    for chunk in cut(text, tokenizer, 50, "sentence")[:-1]:
        assert chunk.rstrip()[-1] in ".0123456789"  # of a sentence or of a heading's number
    assert len(fixed) <= len(cut(text, tokenizer, 50, "sentence")) <= len(cut(text, tokenizer, 50))


@pytest.mark.parametrize("strategy", get_args(Strategy))
@pytest.mark.parametrize("before", [0, 1, 3, 5, 6, 7, 11])
def test_a_table_that_fits_is_in_one_chunk(
    strategy: Strategy, before: int, tokenizer: EmbedderTokenizer
):
    table = "| Region | Time |\n| --- | --- |\n" + ROW * 5
    text = f"{SENTENCE * before}\n\n{table}\n{SENTENCE * 9}"
    assert sum(table in chunk for chunk in cut(text, tokenizer, 80, strategy)) == 1


def test_a_table_that_does_not_fit_is_cut_between_rows(tokenizer: EmbedderTokenizer):
    table = "| Region | Time |\n| --- | --- |\n" + ROW * 60
    chunks = cut(f"{SENTENCE}\n\n{table}\n{SENTENCE}", tokenizer, 80)
    assert len(chunks) > 5
    for chunk in chunks[1:]:
        assert chunk.startswith("|") or SENTENCE in chunk
    assert sum(chunk.count(ROW) for chunk in chunks) == 60


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_every_strategy_tiles_any_text(strategy: Strategy, tokenizer: EmbedderTokenizer):
    generator = random.Random(1)
    pieces = ["word ", ROW, "| a", "|", "\n", "\n\n", "# H\n", ". ", " | x |\n", "  |\n", "é" * 40]
    for _ in range(40):
        text = "".join(generator.choices(pieces, k=generator.randint(1, 200))) + "end"
        cut(text, tokenizer, generator.choice([16, 60]), strategy)


def test_a_label_names_its_settings():
    for strategy in get_args(Strategy):
        config = ChunkingConfig(chunk_tokens=99, strategy=strategy)
        assert ChunkingConfig.of_label(config.label) == config
    assert ChunkingConfig(chunk_tokens=99).label == "99"
    assert ChunkingConfig.of_label("99-other") == ChunkingConfig.of_label("x") == ChunkingConfig()
