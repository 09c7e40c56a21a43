"""Reading as a choice: the encoder proposes spans, the decoder judges what it would say of each.

The encoder's scores name the likeliest spans of the passages. Each makes one whole output in
RAFT's form, the sentence around it as the quote and the span as the answer; one more output
abstains, and where a question asks for yes or no, two more say so. The decoder scores their
answers, all in one pass, and the best of both scores together is the output. Scoring an extractive
reader's spans by a generative one is known from answer re-ranking (RECONSIDER, arXiv 2010.10757).
What an output can say is then no more than what stands in the passages, in their own spelling, with
a quote that is verbatim by construction.

Everything else (questions to be written, questions without passages, answers that an adapter gives
by heart) is written word by word.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rayraft.mini.answer_span import NOWHERE
from rayraft.mini.modeling import MiniForConditionalGeneration
from rayraft.mini.scoring import answer_log_probs
from rayraft.models.rendering import render_completion, render_places
from rayraft.prompts import VERDICTS, Message, completion
from rayraft.sentences import Span, quote_around, sentence_around, split_sentences

MAX_SPAN_TOKENS = 24
"""Of an answer."""
MAX_QUOTE_CHARS = 160
"""As the reader's training rows have them."""
_ASKS_FOR_A_VERDICT = re.compile(
    r"(?:^|[.:;,?!-] )(?:is|are|was|were|do|does|did|can|could|has|have|had|will|would|should|may|"
    r"might|must)\b",
    re.IGNORECASE,
)
"""A clause that begins with its verb: "Does it ...?", "Old age: is it ...?"."""
BY_HEART = 0.5
"""An output begins with its answer, and it is one: with probabilities above this, an adapter is
answering from memory."""


@dataclass(frozen=True)
class Reading:
    """The chosen output."""

    tokens: list[int]
    mean_logprob: float
    """Of the answer's tokens, nats."""


@dataclass(frozen=True)
class _Passage:
    """A passage as it stands in the rendered prompt."""

    text: str
    first: int
    """Its first token's place in the prompt."""
    spans: list[Span]
    """Characters of each of its tokens, within `text`."""

    @functools.cached_property
    def sentences(self) -> list[Span]:
        """Of `text`; looked for where a span of it is tried."""
        return split_sentences(self.text)


@dataclass(frozen=True)
class _Candidate:
    tokens: list[int]
    score: float
    """The encoder's: log-probability of the span's first and last token together."""
    quote: str = ""


class SpanReader:
    """Answers from passages with the shipped model.

    Args:
        model: The reader, with `config.span_candidates` above 0.
        tokenizer: Its own.
    """

    def __init__(self, model: MiniForConditionalGeneration, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer

    def read(
        self, messages: Sequence[Message], prompt: Sequence[int], max_new_tokens: int
    ) -> Reading | None:
        """The best output; None if this prompt's output has to be written word by word.

        Args:
            messages: The prompt.
            prompt: Its ids.
            max_new_tokens: No longer output is chosen.
        """
        passages = self._passages(messages, prompt)
        if not passages:
            return None
        config = self._model.config
        encoded = self._model.encoder(torch.tensor([list(prompt)], device=self._model.device))
        log_S2 = encoded.span_log[0].cpu()
        abstains = _Candidate(self._output("", ""), float(log_S2[NOWHERE].sum()))
        spans = self._candidates(passages, log_S2, max_new_tokens)
        if not spans:
            return None
        verdicts = self._verdicts(messages, spans[0], max_new_tokens)
        candidates = [*spans, *verdicts, abstains]
        log_probs = answer_log_probs(self._model, encoded, [each.tokens for each in candidates])
        if _is_by_heart(log_probs[-1]):
            return None
        scores = [
            float(said.sum()) + config.span_trust * each.score
            for said, each in zip(log_probs, candidates, strict=True)
        ]
        scores[-1] += config.abstain_lean
        best = max(range(len(scores)), key=scores.__getitem__)
        return Reading(candidates[best].tokens, float(log_probs[best].mean()))

    def _verdicts(
        self, messages: Sequence[Message], likeliest: _Candidate, max_new_tokens: int
    ) -> list[_Candidate]:
        """Yes and no, with the likeliest quote, where the question can be answered by them.

        They stand in no passage; whether one of them is meant is the decoder's to say alone.
        """
        question = messages[-1]["content"].rpartition("Question: ")[2]
        if not _ASKS_FOR_A_VERDICT.search(question):
            return []
        outputs = [self._output(likeliest.quote, verdict) for verdict in VERDICTS]
        fitting = [tokens for tokens in outputs if len(tokens) <= max_new_tokens]
        return [_Candidate(tokens, likeliest.score, likeliest.quote) for tokens in fitting]

    def _output(self, quote: str, answer: str) -> list[int]:
        return render_completion(self._tokenizer, completion(quote, answer))

    def _candidates(
        self, passages: Sequence[_Passage], log_S2: Tensor, max_new_tokens: int
    ) -> list[_Candidate]:
        """The likeliest spans, each once, the likeliest first."""
        wanted = self._model.config.span_candidates
        # Many spans of the same words differ in where they begin and end: more are looked at.
        found = sorted(
            (
                (score, passage, span)
                for passage in passages
                for score, span in _best_spans(passage, log_S2, 3 * wanted)
            ),
            key=lambda each: -each[0],
        )
        chosen: dict[tuple[str, str], _Candidate] = {}
        for score, passage, span in found:
            sentence = sentence_around(span, passage.sentences)
            quote = quote_around(passage.text, sentence, span, MAX_QUOTE_CHARS)
            answer = passage.text[span.start : span.end]
            if (quote, answer) in chosen:
                continue
            tokens = self._output(quote, answer)
            if len(tokens) <= min(max_new_tokens, self._model.config.max_target_positions):
                chosen[quote, answer] = _Candidate(tokens, score, quote)
            if len(chosen) == wanted:
                break
        return list(chosen.values())

    def _passages(self, messages: Sequence[Message], prompt: Sequence[int]) -> list[_Passage]:
        """The passages of a prompt that asks for an answer; none if it asks for something else."""
        parts = messages[-1]["content"].split("</document>\n")
        if len(parts) == 1 or not parts[-1].startswith("Question: "):
            return []
        shown, ids, offsets = render_places(self._tokenizer, messages)
        if ids != list(prompt):  # control tokens that stand in a text
            return []
        places = [Span(*place) for place in offsets]
        titles = [part.split("\n", 2)[1] for part in parts[:-1]]
        made = [
            _passage(shown, places, begin, end, title)
            for (begin, end), title in zip(self._segments(prompt), titles, strict=True)
        ]
        return [passage for passage in made if passage]

    def _segments(self, prompt: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Of each segment: where its passage's tokens, with the title, begin and end."""
        config = self._model.config
        ends = [i for i, token in enumerate(prompt) if token == config.eos_token_id]
        for question, passage in zip(ends[::2], ends[1::2], strict=True):
            yield question + 1, passage


def span_reader(model: Any, tokenizer: Any) -> SpanReader | None:
    """For a model that reads by spans; None for any other."""
    if isinstance(model, MiniForConditionalGeneration) and model.config.span_candidates:
        return SpanReader(model, tokenizer)
    return None


def _passage(
    shown: str, places: Sequence[Span], begin: int, end: int, title: str
) -> _Passage | None:
    """The passage without its title, whose words are no sentence of the text."""
    if begin == end:
        return None
    start = places[begin].start
    if shown.startswith(title, start):
        start += len(title)
    inside = [i for i in range(begin, end) if places[i].start >= start]
    if not inside:
        return None
    text = shown[start : places[end - 1].end]
    spans = [Span(places[i].start - start, places[i].end - start) for i in inside]
    return _Passage(text, inside[0], spans)


def _best_spans(passage: _Passage, log_S2: Tensor, count: int) -> list[tuple[float, Span]]:
    """The likeliest spans of whole words, as characters of the passage."""
    length = len(passage.spans)
    begins, ends = log_S2[passage.first : passage.first + length].unbind(-1)
    place = torch.arange(length)
    longer = place[None, :] - place[:, None]
    possible = (longer >= 0) & (longer < MAX_SPAN_TOKENS)
    scores = (begins[:, None] + ends[None, :]).masked_fill(~possible, -torch.inf).flatten()
    best = scores.topk(min(count, int(possible.sum())))
    found = []
    for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        first, last = divmod(index, length)
        span = Span(passage.spans[first].start, passage.spans[last].end)
        found.append((score, _whole_words(passage.text, span)))
    return found


def _whole_words(text: str, span: Span) -> Span:
    start, end = span
    while start > 0 and text[start - 1].isalnum() and text[start].isalnum():
        start -= 1
    while end < len(text) and text[end - 1].isalnum() and text[end].isalnum():
        end += 1
    return Span(start, end)


def _is_by_heart(abstaining: Tensor) -> bool:
    """Whether an answer comes first, without a quote, and it is not the one that there is none."""
    at_once, none = (float(p) for p in abstaining[:2].exp())
    return at_once > BY_HEART and none < 1 - BY_HEART
