"""How the shipped tokenizer's word pieces become text again."""

import pytest
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from rayraft.mini.tokenizer import build_tokenizer
from rayraft.models.generation import TextDeltas


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return build_tokenizer()


@pytest.mark.parametrize(
    "text",
    [
        "16,500 dong",
        "1,030,000 dong",
        "open 7:45 to 21:45",
        "2.4 gigahertz",
        "pa-b52 and 555-0134",
        "twenty-five days",
        "the store's 5% (about 3) share; second-longest",
        "in 1990, 500 people came. 7 went.",
        "##begin_quote## the fee is 2.5 euros. ##end_quote## ##Answer: 2.5 euros",
    ],
)
def test_text_is_written_as_people_do_and_streams_as_it_is(
    tokenizer: PreTrainedTokenizerBase, text: str
) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text

    def decode(some: list[int]) -> str:
        return str(tokenizer.decode(some))

    deltas = TextDeltas(decode)
    pieces = [deltas.feed(ids[:end]) for end in range(1, len(ids) + 1)]
    assert "".join([*pieces, deltas.finish(ids)]) == text
