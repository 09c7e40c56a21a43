"""What an endpoint may be asked: rates, budget, and its own word on waiting."""

import json
import time

import httpx2
import pytest

from data_pipelines.allowance import LocalAllowance, TokensSpent
from data_pipelines.chat_teacher import ChatTeacher
from data_pipelines.openai_teacher import OpenAICarrier, retry_after_s
from data_pipelines.teacher_config import LimitsConfig, TeacherConfig
from data_pipelines.teachers import TeacherRequest

ROW = {"question": "What is the fee in Hue?", "quote": "The fee in Hue is 7.", "answer": "7"}


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def sent_at(limits, tokens):
    """Seconds at which requests of these tokens go out, all of them taken at once."""
    allowance = LocalAllowance(limits, Clock())
    return [round(allowance.take(count), 6) for count in tokens]


def test_requests_and_tokens_are_spread_and_the_stricter_limit_rules():
    assert sent_at(LimitsConfig(), [5, 5, 5]) == [0, 0, 0]
    assert sent_at(LimitsConfig(requests_per_minute=30), [5, 5, 5]) == [0, 2, 4]
    assert sent_at(LimitsConfig(tokens_per_minute=60), [5, 1, 9]) == [0, 5, 6]
    both = LimitsConfig(requests_per_minute=30, tokens_per_minute=60)
    assert sent_at(both, [5, 1, 9]) == [0, 5, 7]


def test_what_was_really_used_moves_the_next_request_and_the_budget():
    clock = Clock()
    allowance = LocalAllowance(LimitsConfig(tokens_per_minute=60, token_budget=20), clock)
    allowance.take(10)
    allowance.settle(10, 4)
    assert allowance.take(10) == pytest.approx(4)
    with pytest.raises(TokensSpent, match="14 of 20"):
        allowance.take(7)
    assert allowance.take(6) == pytest.approx(14)


def test_a_pause_holds_everybody_back_and_ends():
    clock = Clock()
    allowance = LocalAllowance(LimitsConfig(), clock)
    allowance.pause(3)
    allowance.pause(1)
    assert allowance.take(1) == pytest.approx(3)
    clock.now += 3
    assert allowance.take(1) == 0


@pytest.mark.parametrize(
    ("header", "seconds"), [(None, None), ("2", 2.0), ("-1", 0.0), ("soon", None), ("9999", 600.0)]
)
def test_retry_after_is_read_in_seconds(header, seconds):
    headers = {} if header is None else {"retry-after": header}
    assert retry_after_s(httpx2.Response(429, headers=headers)) == seconds


def test_retry_after_is_read_as_a_date():
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    told = retry_after_s(httpx2.Response(503, headers={"retry-after": date}))
    assert told is not None and 50 < told <= 60


def teacher(handler, **settings):
    given = {"kind": "openai", "base_model": "m", "leak_f1": 2, "max_in_flight": 1}
    config = TeacherConfig.model_validate(given | settings)
    transport = httpx2.MockTransport(handler)
    return ChatTeacher(config, OpenAICarrier(config, transport=transport, first_wait_s=0))


def requests(count):
    text = "The fee in Hue is 7. It stays."
    return [TeacherRequest(f"c{i}", "Fees", text, count=1, seed=0) for i in range(count)]


def answer(used):
    message = {"content": json.dumps({"examples": [ROW]})}
    usage = {"prompt_tokens": used - 10, "completion_tokens": 10}
    return httpx2.Response(200, json={"choices": [{"message": message}], "usage": usage})


def test_a_busy_endpoint_is_left_alone_as_long_as_it_asks():
    times = []

    def handler(sent):
        times.append(time.monotonic())
        if len(times) == 1:
            return httpx2.Response(429, headers={"retry-after": "0.2"})
        return answer(50)

    (result,) = teacher(handler, max_retries=1).write(requests(1))
    assert len(result.written) == 1 and times[1] - times[0] >= 0.2


def test_a_spent_budget_stops_asking_and_counts_what_is_left_for_the_next_run():
    asked = []

    def handler(sent):
        asked.append(sent)
        return answer(400)

    results = teacher(handler, limits={"token_budget": 1000}).write(requests(5))
    assert len(asked) == 2
    assert [len(result.written) for result in results] == [1, 1, 0, 0, 0]
    assert [dict(result.dropped) for result in results[2:]] == [{"token_budget_spent": 1}] * 3
    assert sum(r.prompt_tokens + r.completion_tokens for r in results) == 800


def test_limits_and_prices_do_not_decide_what_is_written():
    plain = TeacherConfig(kind="openai", base_model="m")
    limits = LimitsConfig(token_budget=5)
    assert plain.model_copy(update={"limits": limits}).deciding() == plain.deciding()
    assert plain.model_copy(update={"leak_f1": 2}).deciding() != plain.deciding()
