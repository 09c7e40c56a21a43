import json

import pytest

from rayraft.errors import InputError
from rayraft.questions import read_questions, sample_questions, write_questions
from rayraft.records import Question

GOOD = {"id": "1", "question": "Who?", "answers": ["Ada"], "gold_ids": ["d"]}


def write(tmp_path, *lines):
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines), "utf-8")
    return path


def test_every_field_is_read_and_further_ones_are_ignored(tmp_path):
    row = {**GOOD, "kind": "stable", "groups": ["hr"], "meta": {"kind": "other"}, "source": "x"}
    (question,) = read_questions(write(tmp_path, row))
    assert (question.id, question.question, question.answers) == ("1", "Who?", ["Ada"])
    assert (question.gold_ids, question.kind, question.groups) == (["d"], "stable", ["hr"])


def test_kind_comes_from_meta_where_it_is_not_given(tmp_path):
    rows = [{**GOOD, "meta": {"kind": "reading"}}, {**GOOD, "id": "2", "meta": None}]
    assert [q.kind for q in read_questions(write(tmp_path, *rows))] == ["reading", ""]


def test_order_is_the_files_and_limit_takes_the_first(tmp_path):
    path = write(tmp_path, *[{**GOOD, "id": str(i)} for i in (3, 1, 2)], "")
    assert [q.id for q in read_questions(path)] == ["3", "1", "2"]
    assert [q.id for q in read_questions(path, limit=2)] == ["3", "1"]


def test_line_separators_within_strings_do_not_shift_line_numbers(tmp_path):
    odd = json.dumps({**GOOD, "question": "Who \u2028 is it?"}, ensure_ascii=False)
    with pytest.raises(InputError, match="line 2: not JSON"):
        read_questions(write(tmp_path, odd, "{"))


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{not json", "line 2: not JSON"),
        ("[" * 200_000, "line 2: not JSON"),
        ("[1, 2]", "line 2: expected a JSON object, not list"),
        ('{"id": "2", "question": "Who?"}', r"line 2: answers=.*Field required"),
        ('{"id": "2", "question": "", "answers": []}', "line 2: question=''"),
        ('{"id": 2, "question": "Who?", "answers": []}', "line 2: id=2"),
        ('{"id": "2", "question": "Who?", "answers": "Ada"}', "line 2: answers='Ada'"),
        (json.dumps(GOOD), "line 2: id '1' comes twice"),
    ],
)
def test_a_broken_line_is_named_even_beyond_the_limit(tmp_path, line, what):
    path = write(tmp_path, GOOD, line)
    with pytest.raises(InputError, match=what) as caught:
        read_questions(path, limit=1)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_empty_and_binary_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.jsonl: No such file"):
        read_questions(tmp_path / "no.jsonl")
    with pytest.raises(InputError, match="holds no question"):
        read_questions(write(tmp_path, "", "  "))
    (tmp_path / "b.jsonl").write_bytes(b'{"id": "\xff"}')
    with pytest.raises(InputError, match="not UTF-8 at byte 8"):
        read_questions(tmp_path / "b.jsonl")


def question(number, kind="", answer="blue"):
    return Question(
        id=f"q{number:02}", question="?", answers=[answer], gold_ids=["d.md"], kind=kind
    )


def test_a_sample_takes_kinds_evenly_whatever_the_order_of_the_file():
    questions = [question(i, "many") for i in range(40)] + [question(50 + i, "few") for i in (0, 1)]

    taken = sample_questions(questions, 10, seed=1)

    assert [q.kind for q in taken].count("few") == 2
    assert len({q.id for q in taken}) == 10
    assert taken == sample_questions(questions[::-1], 10, seed=1)
    assert taken != sample_questions(questions, 10, seed=2)


def test_a_sample_larger_than_the_file_is_the_whole_file():
    questions = [question(i) for i in range(3)]

    assert sample_questions(questions, 100, seed=0) == questions


def test_written_questions_are_read_back_unchanged(tmp_path):
    questions = [question(1), question(2, "stable")]

    assert read_questions(write_questions(tmp_path / "q.jsonl", questions)) == questions
