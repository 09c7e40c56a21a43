"""What greedy generation is asked for and reports: outputs, and their text as it is written."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

from rayraft.models.codec import Codec
from rayraft.writing import Row


@dataclass(frozen=True)
class Generated:
    """One output."""

    text: str
    """Without special tokens; RAFT's markers stay."""
    prompt_tokens: int
    completion_tokens: int
    """The end token included."""
    mean_logprob: float | None = field(default=None, compare=False)
    """Of the output's tokens, nats: how sure the model was; None where it was not measured."""


def greedy_settings(
    codec: Codec, max_new_tokens: int, draft_tokens: int | None
) -> GenerationConfig:
    """Transformers' settings for the likeliest token at each step.

    Args:
        codec: Of the model.
        max_new_tokens: Of the longest output.
        draft_tokens: So many are drafted from the source and checked at once; None drafts none.
    """
    return GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        # A quote repeats the document: the base model's own penalty must not forbid it.
        repetition_penalty=1.0,
        eos_token_id=codec.end_ids,
        pad_token_id=codec.pad_id,
        use_cache=True,
        prompt_lookup_num_tokens=draft_tokens,
    )


def whole_output(
    codec: Codec, row: Row, prompt: list[int], tokens: list[int], mean_logprob: float
) -> Generated:
    """An output that is there at once; who waits for its text is given it."""
    text = codec.decode(tokens)
    if row.on_text is not None:
        row.on_text(text)
    return Generated(text, len(prompt), len(tokens), mean_logprob)


class TextDeltas:
    """Tokens to pieces of text.

    The last word is held back, because the next token may go on with it or change how it ends.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._given = ""

    def feed(self, tokens: list[int]) -> str:
        """The text that became certain, given all tokens so far."""
        text = self._decode(tokens)
        ready = text[: text.rfind(" ") + 1].rstrip()
        return self._give(ready) if ready.startswith(self._given) else ""

    def finish(self, tokens: list[int]) -> str:
        """The rest, given all tokens there are."""
        return self._give(self._decode(tokens))

    def _give(self, text: str) -> str:
        delta = text[len(self._given) :]
        self._given += delta
        return delta


class RowWatch(StoppingCriteria):
    """Follows a batch token by token: hands out each row's text, ends rows that nobody waits for.

    Transformers asks it after every step which rows are done.
    """

    def __init__(
        self, rows: list[Row], start: int, codec: Codec, between: Callable[[], None]
    ) -> None:
        """Begins.

        Args:
            rows: The batch.
            start: Tokens before the outputs' first ones.
            codec: Of the model.
            between: Called between two steps.
        """
        self._rows = rows
        self._start = start
        self._codec = codec
        self._between = between
        self._deltas = [TextDeltas(codec.decode) for _ in rows]
        self._done = [False] * len(rows)
        self.tokens: list[list[int]] = [[] for _ in rows]
        """Each row's output so far."""

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: object
    ) -> object:
        """Bool [rows]: which are done."""
        self.see(input_ids)
        if not all(self._done):
            self._between()
        return torch.tensor(self._done, device=input_ids.device)

    def see(self, sequences: torch.Tensor) -> None:
        """Takes note of sequences int64 [rows, start + written so far]."""
        for row, output in enumerate(sequences[:, self._start :].tolist()):
            if not self._done[row]:
                self._follow(row, output)

    def finish(self) -> list[list[int]]:
        """The outputs; hands out what text was held back."""
        for row, deltas, tokens in zip(self._rows, self._deltas, self.tokens, strict=True):
            self._hand_out(row, deltas.finish(tokens))
        return self.tokens

    def _follow(self, number: int, output: list[int]) -> None:
        row = self._rows[number]
        tokens = self._codec.until_end(output)[: row.max_new_tokens]
        self.tokens[number] = tokens
        ended = bool(tokens) and tokens[-1] in self._codec.end_ids
        self._done[number] = ended or len(tokens) >= row.max_new_tokens or not row.wanted()
        if row.on_text is not None:
            self._hand_out(row, self._deltas[number].feed(tokens))

    @staticmethod
    def _hand_out(row: Row, text: str) -> None:
        if text and row.on_text is not None:
            row.on_text(text)


class Beginnings(LogitsProcessor):
    """Each row begins with the token of its rank (`Row.alternative`); what follows is left alone.

    Args:
        ranks: Of each row, 0 for the likeliest token.
        start: Tokens before the outputs' first ones.
    """

    def __init__(self, ranks: list[int], start: int) -> None:
        self._ranks = torch.tensor(ranks)[:, None]
        self._start = start

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """The scores float [rows, vocabulary], at the first step of that token alone."""
        if input_ids.shape[1] != self._start:
            return scores
        ranks = self._ranks.to(scores.device)
        likeliest = scores.topk(int(ranks.max()) + 1).indices
        chosen = likeliest.gather(1, ranks)
        alone = torch.full_like(scores, -torch.inf).scatter(1, chosen, scores.gather(1, chosen))
        return cast(torch.FloatTensor, alone)


class Confidence(LogitsProcessor):
    """Hears how probable each greedy token is, and changes nothing.

    A drafted position is heard again when its draft was refused, so the last word on it counts.
    """

    def __init__(self) -> None:
        self._by_length: dict[int, torch.Tensor] = {}

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """The scores as they came; float [rows, vocabulary]."""
        wide = scores.float()
        self._by_length[input_ids.shape[1]] = wide.amax(-1) - wide.logsumexp(-1)
        return scores

    def mean(self, row: int, start: int, tokens: int) -> float | None:
        """Mean log-probability of a row's `tokens` tokens after position `start`, nats."""
        heard = [self._by_length.get(start + i) for i in range(tokens)]
        values = [float(each[row]) for each in heard if each is not None]
        return sum(values) / len(values) if values else None
