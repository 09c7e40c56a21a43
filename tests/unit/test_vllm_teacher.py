"""The vLLM teacher's part that needs no engine: its rows, failures, resuming and configuration."""

import json
from importlib.util import find_spec

import pytest

from data_pipelines.chat_teacher import ChatTeacher
from data_pipelines.kept_replies import KEY, KeptReplies
from data_pipelines.raft_staging import Staging
from data_pipelines.teacher_config import TeacherConfig
from data_pipelines.teachers import TeacherRequest
from data_pipelines.vllm_teacher import ERROR, VllmAsker, check_vllm, processor_config
from rayraft.errors import ConfigError

CONFIG = TeacherConfig.model_validate(
    {"kind": "vllm", "base_model": "org/model", "vllm": {"engines": 2, "engine": {"dtype": "half"}}}
)
ROW = {"question": "What is the fee in Hue?", "quote": "The fee in Hue is 7.", "answer": "7"}


class Engine:
    """Answers in reverse order; refuses prompts about Vinh, and dies after so many rows."""

    def __init__(self, lives=100):
        self.seen = []
        self._lives = lives

    def __call__(self, rows):
        for row in reversed(rows):
            if len(self.seen) >= self._lives:
                raise RuntimeError("the engine died")
            self.seen.append(row)
            user = row["messages"][1]["content"]
            if "Vinh" in user:
                yield {"key": row["key"], ERROR: "ValueError: too long", "prompt": "..."}
            else:
                as_json = "structured_outputs" in row["sampling_params"]
                text = json.dumps({"examples": [ROW]}) if as_json else "##Answer: nobody knows"
                sizes = {"prompt_tokens": 20, "completion_tokens": 5}
                yield {"key": row["key"], "text": text, ERROR: "", **sizes}


def teacher(engine, store):
    staging = Staging(str(store), "k", id_name=KEY)
    return ChatTeacher(CONFIG, KeptReplies(VllmAsker(engine), staging))


def requests():
    texts = {"hue": "The fee in Hue is 7. It stays.", "vinh": "The fee in Vinh is 9."}
    return [TeacherRequest(i, i, text, count=1, seed=0) for i, text in texts.items()]


def test_a_prompt_that_the_engine_refuses_costs_its_chunk_only(tmp_path):
    engine = Engine()
    hue, vinh = teacher(engine, tmp_path).write(requests())
    assert [written.question for written in hue.written] == [ROW["question"]]
    assert vinh.dropped == {"teacher_error": 1}
    assert len(engine.seen) == 3  # two chunks, then one question without its document
    assert (hue.prompt_tokens, hue.completion_tokens) == (40, 10)


def test_a_killed_run_asks_for_what_is_missing_only(tmp_path):
    asked = [requests()[0], TeacherRequest("lviv", "Lviv", "The fee in Lviv is 7.", 1, 0)]
    with pytest.raises(RuntimeError, match="died"):
        teacher(Engine(lives=1), tmp_path).write(asked)
    engine = Engine()
    teacher(engine, tmp_path).write(asked)
    written = [row for row in engine.seen if "structured_outputs" in row["sampling_params"]]
    assert len(written) == 1


def test_the_processor_goes_on_after_errors_and_passes_the_engines_arguments():
    made = processor_config(CONFIG)
    assert made["should_continue_on_error"] is True
    assert made["engine_kwargs"] == {"dtype": "half"}
    assert (made["model_source"], made["concurrency"]) == ("org/model", (2, 2))


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_one_line_says_what_to_do():
    with pytest.raises(ConfigError, match=r"pip install .*llm.*kind=openai"):
        check_vllm()
