"""Outputs that begin with another token than the likeliest."""

from pathlib import Path

import pytest

from rayraft.models.text import TextModel
from rayraft.prompts import Message
from rayraft.writing import Row
from tests.ray.tiny_models import save_causal, save_seq2seq

PROMPT: list[Message] = [{"role": "user", "content": "w1 w2 w3"}]
OTHER: list[Message] = [{"role": "user", "content": "w4 w5 w6 w7 w8 w9 w10 w11"}]


@pytest.mark.parametrize("save", [save_seq2seq, save_causal])
def test_alternatives_begin_with_the_next_likely_tokens_and_go_on_greedily(
    save, tmp_path: Path
) -> None:
    save(tmp_path)
    model = TextModel.load(str(tmp_path), device="cpu", dtype="float32")
    rows = [Row(PROMPT, 6, alternative=n) for n in range(4)]
    together = model.generate_rows([*rows, Row(OTHER, 6)])
    alone = [model.generate([PROMPT], max_new_tokens=6, alternative=n)[0] for n in range(4)]
    assert together[:4] == alone
    assert together[4] == model.generate([OTHER], max_new_tokens=6)[0]
    firsts = [model.generate([PROMPT], max_new_tokens=1, alternative=n)[0] for n in range(4)]
    assert len({first.text for first in firsts}) == 4
    sure = [first.mean_logprob for first in firsts]
    assert len(set(sure)) == 1, "of the likeliest token, whichever is chosen"
    assert all(o.text.startswith(f.text) for o, f in zip(alone, firsts, strict=True))
