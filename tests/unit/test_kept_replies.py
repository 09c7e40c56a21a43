"""What a model replied is kept: a run that ends early asks only for what is missing."""

import json
import time

import httpx2
import pytest

from data_pipelines.chat_teacher import Reply
from data_pipelines.kept_replies import KEY, KeptReplies
from data_pipelines.openai_teacher import OpenAICarrier
from data_pipelines.raft_staging import Staging
from data_pipelines.teacher_config import TeacherConfig


def prompt(text):
    return [{"role": "user", "content": text}]


class Endpoint:
    """Says every prompt again; fails for those in `down`, and is gone after so many."""

    def __init__(self, lives=100, down=()):
        self.asked = []
        self.down = set(down)
        self._lives = lives

    def __call__(self, request):
        text = json.loads(request.content)["messages"][0]["content"]
        if len(self.asked) >= self._lives:
            raise RuntimeError("killed")
        self.asked.append(text)
        if text in self.down:
            return httpx2.Response(400)
        usage = {"prompt_tokens": 3, "completion_tokens": 2}
        choice = {"message": {"content": text.upper()}}
        return httpx2.Response(200, json={"choices": [choice], "usage": usage})


def kept(endpoint, store, flush_s=60.0):
    config = TeacherConfig(kind="openai", base_model="m", url="http://t/v1", max_in_flight=1)
    transport = httpx2.MockTransport(endpoint)
    staging = Staging(str(store), "k", id_name=KEY, flush_s=flush_s)
    return KeptReplies(OpenAICarrier(config, transport=transport, first_wait_s=0), staging)


def test_replies_of_a_run_that_died_are_not_asked_for_again(tmp_path):
    prompts = [prompt(text) for text in ("a", "b", "c", "b")]
    with pytest.raises(RuntimeError, match="killed"):
        kept(Endpoint(lives=2), tmp_path)(prompts, as_json=False)
    again = Endpoint()
    replies = kept(again, tmp_path)(prompts, as_json=False)
    assert again.asked == ["c"]
    assert replies == [Reply(text, "", 3, 2) for text in ("A", "B", "C", "B")]


def test_a_failure_is_asked_again_and_another_form_of_reply_is_another_prompt(tmp_path):
    endpoint = Endpoint(down={"b"})
    carry = kept(endpoint, tmp_path)
    replies = carry([prompt("a"), prompt("b")], as_json=False)
    assert [bool(reply.failed) for reply in replies] == [False, True]
    endpoint.down.clear()
    assert not carry([prompt("b")], as_json=False)[0].failed
    carry([prompt("a")], as_json=True)
    assert endpoint.asked == ["a", "b", "b", "a"]


def test_what_came_is_on_storage_before_the_last_one_is_there(tmp_path):
    seen = []

    class Slow(Endpoint):
        def __call__(self, request):
            seen.append(len(Staging(str(tmp_path), "k", id_name=KEY).rows()))
            time.sleep(0.02)
            return super().__call__(request)

    kept(Slow(), tmp_path, flush_s=0.0)([prompt(text) for text in "abcd"], as_json=False)
    assert seen[-1] >= 2
