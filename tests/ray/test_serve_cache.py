"""The answering deployment with its cache, over handles in this process: no cluster is started."""

import asyncio

import numpy as np
import pytest

from rayraft.answering import GeneratedPiece, Retrieved
from rayraft.prompts import completion
from rayraft.protocols import AskRequest
from rayraft.records import Answer
from serve.config import AnsweringConfig
from tests.ray.serve_fakes import PASSAGE

VECTORS = {"how long is it": 0.0, "how long is it now": 0.14, "who pays": 1.5}


class Response:
    """A handle's response, or its stream."""

    def __init__(self, *items):
        self._items = items

    def __await__(self):
        async def first():
            return self._items[0]

        return first().__await__()

    async def __aiter__(self):
        for item in self._items:
            yield item

    def cancel(self):
        pass


class Handle:
    """A deployment's handle: the methods of `target`, each with `remote`."""

    def __init__(self, target):
        self._target = target

    def options(self, stream):
        assert stream
        return self

    def __getattr__(self, name):
        method = getattr(self._target, name)
        return type("Method", (), {"remote": staticmethod(method)})


class Parts:
    """Retriever and generator; they count their work and say the version in their answers."""

    def __init__(self):
        self.kb_version, self.written = 5, 0

    def version(self):
        return Response(self.kb_version)

    def embed(self, texts):
        angle = VECTORS[texts[0]]
        return Response((np.array([[np.cos(angle), np.sin(angle)]], np.float32), 3))

    def search(self, search):
        return Response(Retrieved([PASSAGE], self.kb_version))

    def generate(self, request):
        self.written += 1
        return Response(GeneratedPiece(self._text(), 20, 5))

    def stream(self, request):
        self.written += 1
        return Response(GeneratedPiece(self._text()), GeneratedPiece("", 20, 5))

    def _text(self):
        return completion("The fee is 5 EUR.", f"answer of version {self.kb_version}")


@pytest.fixture
def parts():
    return Parts()


@pytest.fixture
def ask(parts, tmp_path):
    from serve.graph import AnsweringGraph

    cache = {"enabled": True, "min_cosine": 0.95}
    settings = {"default_adapter": None, "router": None, "cache": cache}
    handle = Handle(parts)
    graph = AnsweringGraph(AnsweringConfig.model_validate(settings), str(tmp_path), handle, handle)

    async def stream(request) -> Answer:
        items = [item async for item in graph.answer_stream(request)]
        answer = items[-1]
        assert isinstance(answer, Answer)
        assert "".join(map(str, items[:-1])) == answer.text
        return answer

    def go(question, streamed=False, **options):
        request = AskRequest(question=question, mode="rag", **options)
        return asyncio.run(stream(request) if streamed else graph.answer(request))

    return go


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("then", [False, True])
def test_whole_and_streamed_answers_share_what_is_kept(ask, parts, first, then):
    made = ask("how long is it", streamed=first)
    kept = ask("how long is it", streamed=then)
    assert made.cache and made.cache.outcome == "miss"
    assert kept.cache and kept.cache.outcome == "exact"
    assert (kept.text, parts.written) == ("answer of version 5", 1)
    assert kept.citations == made.citations != []


def test_other_words_get_the_kept_answer_only_near_and_within_the_same_groups(ask, parts):
    ask("how long is it")
    near = ask("how long is it now")
    assert near.cache and near.cache.outcome == "semantic"
    for question, groups in (("who pays", ()), ("how long is it now", ("tenant:acme",))):
        other = ask(question, groups=groups)
        assert other.cache and other.cache.outcome == "miss"
    assert parts.written == 3


def test_a_write_makes_every_kept_answer_another_versions(ask, parts):
    ask("how long is it")
    parts.kb_version = 6
    anew = ask("how long is it")
    assert anew.cache and anew.cache.outcome == "miss"
    assert anew.text == "answer of version 6"
    assert ask("how long is it").text == "answer of version 6"
    assert parts.written == 2
