"""Row filters against a plain reading of the same rules."""

import json
import random
from typing import Any

import pyarrow as pa
import pytest

from data_pipelines.filters import RowFilter
from rayraft.errors import InputError


def row(number: int, metadata: dict[str, Any], acl: list[str] | None = None) -> dict[str, Any]:
    return {
        "document_id": f"d{number}",
        "title": f"T{number}",
        "metadata": json.dumps(metadata),
        "acl": acl or [],
    }


def table(rows: list[dict[str, Any]]) -> pa.Table:
    columns = ["document_id", "title", "metadata"]
    schema = pa.schema([*((name, pa.string()) for name in columns), ("acl", pa.list_(pa.string()))])
    return pa.Table.from_pylist(rows, schema=schema)


def allowed(rows: list[dict[str, Any]], where: Any = None, groups: Any = ()) -> list[str]:
    row_filter = RowFilter()
    row_filter.append(table(rows))
    mask = row_filter.mask(where, groups)
    return [item["document_id"] for item, keep in zip(rows, mask, strict=True) if keep]


ROWS = [
    row(0, {"region": "HN", "n": 1, "date": "2026-01-01"}),
    row(1, {"region": "SG", "n": 2.5, "date": "2026-02-01"}, ["hr"]),
    row(2, {"n": True}, ["public"]),
    row(3, {"region": "HN", "n": "1"}, ["hr", "it"]),
]


@pytest.mark.parametrize(
    ("groups", "seen"),
    [
        ((), ["d0", "d2"]),
        (("hr",), ["d0", "d1", "d2", "d3"]),
        (("it",), ["d0", "d2", "d3"]),
        (("HR",), ["d0", "d2"]),
        (("",), ["d0", "d2"]),
    ],
)
def test_groups_decide_what_is_seen(groups: tuple[str, ...], seen: list[str]):
    assert allowed(ROWS, None, groups) == seen


@pytest.mark.parametrize(
    ("where", "seen"),
    [
        ({}, ["d0", "d1", "d2", "d3"]),
        ({"region": "HN"}, ["d0", "d3"]),
        ({"region": ["HN", "SG"]}, ["d0", "d1", "d3"]),
        ({"region": []}, []),
        ({"n": 1}, ["d0"]),
        ({"n": 1.0}, ["d0"]),
        ({"n": True}, ["d2"]),
        ({"n": "1"}, ["d3"]),
        ({"n": {"gte": 1, "lt": 3}}, ["d0", "d1"]),
        ({"n": {"gt": 1}}, ["d1"]),
        ({"date": {"gte": "2026-01-15"}}, ["d1"]),
        ({"date": {"lte": "2026-01-15"}}, ["d0"]),
        ({"region": {"ne": "HN"}}, ["d1"]),
        ({"region": "HN", "n": 1}, ["d0"]),
        ({"unknown": "x"}, []),
        ({"unknown": {"ne": "x"}}, []),
        ({"region": None}, []),
        ({"document_id": ["d1", "d2"]}, ["d1", "d2"]),
        ({"title": "T0"}, ["d0"]),
    ],
)
def test_conditions_and_a_missing_field_never_matches(where: dict[str, Any], seen: list[str]):
    assert allowed(ROWS, where, ("hr",)) == seen


@pytest.mark.parametrize(
    "where",
    [
        {"n": {"like": "x"}},
        {"n": {}},
        {"n": {"gte": None}},
        {"n": {"gte": [1]}},
        {"n": [[1]]},
        {"n": [{"gte": 1}]},
    ],
)
def test_a_malformed_condition_is_an_input_error(where: dict[str, Any]):
    with pytest.raises(InputError, match=r"where\.n"):
        allowed(ROWS, where)


def test_a_malformed_condition_is_one_even_when_nothing_has_the_field():
    with pytest.raises(InputError):
        allowed(ROWS, {"unknown": {"like": "x"}})


def test_adding_rows_piece_by_piece_is_the_same_as_at_once():
    generator = random.Random(0)
    live: list[dict[str, Any]] = []
    row_filter = RowFilter()
    for step in range(30):
        new = [
            row(
                100 * step + i,
                {generator.choice("abc"): generator.choice([1, 2, "x", True])},
                generator.sample(["hr", "it", ""], generator.randint(0, 2)),
            )
            for i in range(generator.randint(0, 4))
        ]
        row_filter.append(table(new))
        live += new
        for where in (None, {"a": 1}, {"b": ["x", True]}, {"c": {"gte": 2}}):
            mask = row_filter.mask(where, ("hr",))
            seen = [item["document_id"] for item, one in zip(live, mask, strict=True) if one]
            assert seen == allowed(live, where, ("hr",))


def test_an_empty_group_name_is_a_group_and_not_everybody():
    assert allowed([row(0, {}, [""]), row(1, {}, ["a"]), row(2, {})], None, ()) == ["d2"]
