"""The answer cache: nothing that decides an answer is ever mixed up, and its bounds hold."""

import asyncio
import random
from typing import Any

import numpy as np
import pytest

from rayraft.answer_cache import AnswerCache, CacheConfig, cache_scope, tells_apart
from rayraft.protocols import AskRequest, Retrieved
from rayraft.records import Answer, Usage
from rayraft.tenants import groups_of
from serve.cached_answers import CachedAnswers

QUESTIONS = ("how long is the leave", "how long is the leave then", "who pays the rail ticket")
GROUPS = [
    groups_of(tenant, own)
    for tenant in (None, "acme", "other")
    for own in ((), ("hr",), ("board",))
]
OPTIONS: dict[str, tuple[Any, ...]] = {
    "mode": ("rag", "raft", "auto", "closed_book"),
    "k": (2, 4),
    "where": (None, {"region": "VN"}),
    "max_new_tokens": (16, 96),
    "require_grounding": (False, True),
    "retrieval_weight": (None, 0.5),
    "reading_adapter": (None, "a-v1"),
    "mu": (None, "cheap"),
}


def vector_of(question):
    """The first two questions are near (cosine 0.99), the third is far."""
    angle = {QUESTIONS[0]: 0.0, QUESTIONS[1]: 0.14, QUESTIONS[2]: 1.5}[question]
    return np.array([np.cos(angle), np.sin(angle)], np.float32)


class World:
    """A service whose answers spell out all that decided them but the question's wording."""

    def __init__(self, **config):
        self.version, self.made, self.partial = 1, 0, False
        self.cached = CachedAnswers(CacheConfig(enabled=True, **config), self._now, self._embed)

    async def _now(self):
        return self.version

    async def _embed(self, question):
        return vector_of(question)

    async def _retrieve(self, question, k, where, groups, min_kb_version):
        return Retrieved([], self.version, self.partial)

    def says(self, request, decided):
        told = request.model_dump(exclude={"question", "groups", "min_kb_version", "use_cache"})
        return repr((told, sorted(request.groups), decided, self.version))

    def ask(self, request, decided=(None, None)):
        async def make(retrieve):
            self.made += 1
            await retrieve(request.question, request.k, None, request.groups, None)
            text = self.says(request, decided)
            yield text[:5]
            yield text[5:]
            kb_version = None if request.mode == "closed_book" else self.version
            usage = Usage(prompt_tokens=9, completion_tokens=3)
            yield Answer(text=text, mode=request.mode, kb_version=kb_version, usage=usage)

        async def go():
            stream = self.cached.stream(request, decided, self._retrieve, make)
            return [item async for item in stream]

        *pieces, answer = asyncio.run(go())
        assert "".join(pieces) == answer.text
        return answer


@pytest.mark.parametrize("min_cosine", [None, 0.95])
def test_a_kept_answer_is_never_anothers(min_cosine):
    rng = random.Random(0)
    world = World(min_cosine=min_cosine)
    outcomes = []
    for _ in range(3000):
        # One option at a time is another, so that requests do meet each other's answers.
        name, values = rng.choice([*OPTIONS.items()])
        drawn: dict[str, Any] = {name: rng.choice(values)}
        groups = [*rng.choice(GROUPS)]
        rng.shuffle(groups)
        question = rng.choice(QUESTIONS)
        request = AskRequest(question=question, groups=tuple(groups), **drawn)
        decided = (rng.choice([None, "a-v1", "a-v2"]), rng.choice([None, "router"]))
        world.version += rng.random() < 0.005
        answer = world.ask(request, decided)
        assert answer.text == world.says(request, decided)
        outcomes.append(answer.cache.outcome)
    assert outcomes.count("exact") > 100
    assert (outcomes.count("semantic") > 100) is (min_cosine is not None)


def test_a_hit_is_marked_costs_nothing_and_can_be_declined():
    world = World(min_cosine=0.95)
    request = AskRequest(question=QUESTIONS[0])
    assert world.ask(request).cache.outcome == "miss"
    again = world.ask(request)
    assert (again.cache.outcome, again.usage, world.made) == ("exact", Usage(), 1)
    assert set(again.timings_ms) == {"cache", "total"}
    near = world.ask(AskRequest(question=QUESTIONS[1]))
    assert near.cache.outcome == "semantic"
    assert 0.98 < near.cache.similarity < 1
    assert world.ask(AskRequest(question=QUESTIONS[2])).cache.outcome == "miss"
    declined = world.ask(request.model_copy(update={"use_cache": False}))
    assert declined.cache is None
    assert world.made == 3


def test_a_version_that_is_asked_for_is_not_answered_from_before():
    world = World()
    world.ask(AskRequest(question=QUESTIONS[0]))
    waited = world.ask(AskRequest(question=QUESTIONS[0], min_kb_version=2))
    assert waited.cache.outcome == "miss"
    met = world.ask(AskRequest(question=QUESTIONS[0], min_kb_version=1))
    assert met.cache.outcome == "exact"


def test_an_answer_from_a_part_of_the_documents_is_not_kept():
    world = World()
    world.partial = True
    world.ask(AskRequest(question=QUESTIONS[0]))
    world.partial = False
    assert world.ask(AskRequest(question=QUESTIONS[0])).cache.outcome == "miss"
    assert world.ask(AskRequest(question=QUESTIONS[0])).cache.outcome == "exact"


def test_off_by_default():
    assert not CacheConfig().enabled
    world = World()
    world.cached = CachedAnswers(CacheConfig(), world._now, world._embed)
    for _ in range(2):
        assert world.ask(AskRequest(question=QUESTIONS[0])).cache is None
    assert world.made == 2


def test_entries_bytes_and_age_are_bounded():
    now = [0.0]
    cache = AnswerCache(CacheConfig(max_entries=20, max_bytes=20_000, ttl_s=60), lambda: now[0])
    rng = random.Random(1)
    for number in range(300):
        now[0] += 1
        answer = Answer(text="x" * rng.randrange(3000), mode="rag")
        cache.keep(f"s{number % 7}", 1, f"q{rng.randrange(40)}", answer, np.ones(4, np.float32))
        assert len(cache) <= 20
        assert 0 < cache.size <= 20_000
    cache.keep("s", 1, "too long", Answer(text="x" * 30_000, mode="rag"), None)
    assert cache.equal("s", "too long") is None
    cache.keep("s", 1, "q", Answer(text="kept", mode="rag"), None)
    now[0] += 59
    kept = cache.equal("s", "q")
    assert kept and kept.cache and kept.cache.age_s == 59
    now[0] += 2
    assert cache.equal("s", "q") is None


def test_what_is_asked_for_stays_longest():
    cache = AnswerCache(CacheConfig(max_entries=2))
    for question in ("a", "b"):
        cache.keep("s", 1, question, Answer(text=question, mode="rag"), None)
    cache.equal("s", "a")
    cache.keep("s", 1, "c", Answer(text="c", mode="rag"), None)
    assert [cache.equal("s", question) is not None for question in "abc"] == [True, False, True]


def test_a_newer_version_empties_the_memory_and_an_older_answer_is_not_kept():
    cache = AnswerCache(CacheConfig())
    cache.keep("s", 1, "q", Answer(text="deleted later", mode="rag"), None)
    cache.follow(2)
    assert (len(cache), cache.size) == (0, 0)
    cache.keep("s", 1, "q", Answer(text="late", mode="rag"), None)
    assert len(cache) == 0


def test_an_abstention_answers_no_other_words():
    cache = AnswerCache(CacheConfig(enabled=True, min_cosine=0.5))
    vector = np.array([1, 0], np.float32)
    cache.keep("s", 1, "q", Answer(text="I do not know", mode="rag", abstained=True), vector)
    assert cache.near("s", "q then", vector) is None
    assert cache.equal("s", "q") is not None


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("What is the fee in Vietnam?", "What is the fee in Germany?", True),
        ("What changed in 2025?", "What changed in 2026?", True),
        ("Is article 4b valid?", "Is article 4c valid?", True),
        ("How long is the leave?", "how long is the leave", False),
        ("How long is annual leave?", "What is the length of annual leave?", False),
    ],
)
def test_names_and_numbers_tell_questions_apart(one, other, apart):
    assert tells_apart(one, other) is tells_apart(other, one) is apart


def test_every_field_of_a_request_is_in_its_scope_or_named_as_not_deciding():
    base = AskRequest(question="q")
    other = {
        "question": "other",
        "mode": "rag",
        "adapter": "a-v1",
        "k": 9,
        "where": {"a": 1},
        "groups": ("hr",),
        "min_kb_version": 3,
        "max_new_tokens": 5,
        "require_grounding": True,
        "retrieval_weight": 0.1,
        "deadline_at": 1.0,
        "reading_adapter": "a-v1",
        "mu": "cheap",
        "use_cache": False,
    }
    assert set(other) == set(AskRequest.model_fields), "say here what a new field is"
    scope = cache_scope(base, None, None, 1)
    changed = base.model_copy
    same = {
        name
        for name, value in other.items()
        if cache_scope(changed(update={name: value}), None, None, 1) == scope
    }
    assert same == {"question", "min_kb_version", "deadline_at", "use_cache"}
    decided = {cache_scope(base, a, r, v) for a in (None, "a") for r in (None, "r") for v in (1, 2)}
    assert len(decided) == 8
