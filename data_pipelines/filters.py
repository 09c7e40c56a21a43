"""Which chunks a search may see: metadata conditions and access groups, as boolean masks.

Every column keeps its distinct values once and a code per row, so a condition is tested on the
distinct values and spread to the rows by one look-up.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rayraft.errors import InputError
from rayraft.records import Scalar, may_read

Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int32]
Where = Mapping[str, Any]
"""Field to a value, a list of values, or bounds such as {"gte": "2026-01-01", "lt": ...}."""

DOCUMENT_FIELDS = ("document_id", "title")
"""Fields of `where` beside the metadata's."""

_MISSING: tuple[str, ...] = ()  # never equal to a metadata value, which is a scalar
_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "gte": lambda value, bound: value >= bound,
    "gt": lambda value, bound: value > bound,
    "lte": lambda value, bound: value <= bound,
    "lt": lambda value, bound: value < bound,
    "ne": lambda value, bound: value != bound,
}


class CodedColumn:
    """One value per row, kept as a code into the distinct values."""

    def __init__(self, rows: int, fill: Any) -> None:
        self._values: list[Any] = [fill]
        self._codes_by_value: dict[Any, int] = {_key(fill): 0}
        self._codes = np.zeros(rows, dtype=np.int32)

    def append(self, values: Sequence[Any], places: Codes) -> None:
        """Adds a row per place: the value there."""
        codes = np.array([self._code(value) for value in values], dtype=np.int32)
        self._codes = np.concatenate([self._codes, codes[places]])

    def matches(self, test: Callable[[Any], bool]) -> Mask:
        """Bool [rows]: where the value passes `test`."""
        passed = np.array([test(value) for value in self._values], dtype=np.bool_)
        mask: Mask = passed[self._codes]
        return mask

    def _code(self, value: Any) -> int:
        key = _key(value)
        if key not in self._codes_by_value:
            self._codes_by_value[key] = len(self._values)
            self._values.append(value)
        return self._codes_by_value[key]


class RowFilter:
    """Masks over a growing list of chunks."""

    def __init__(self) -> None:
        self._rows = 0
        self._acl = CodedColumn(0, ())
        self._fields: dict[str, CodedColumn] = {}

    def append(self, rows: pa.Table) -> None:
        """Adds chunks: columns document_id, title, metadata (JSON) and acl."""
        count = rows.num_rows
        texts, places = _distinct(rows["metadata"])
        objects: list[dict[str, Scalar]] = [json.loads(text) for text in texts]
        fields = {name: [item.get(name, _MISSING) for item in objects] for name in _names(objects)}
        coded = {name: (values, places) for name, values in fields.items()}
        coded |= {name: _distinct(rows[name]) for name in DOCUMENT_FIELDS}
        for name in coded.keys() - self._fields.keys():
            self._fields[name] = CodedColumn(self._rows, _MISSING)
        absent: tuple[list[Any], Codes] = ([_MISSING], np.zeros(count, dtype=np.int32))
        for name, column in self._fields.items():
            column.append(*coded.get(name, absent))
        lists = [tuple(sorted(acl or ())) for acl in rows["acl"].to_pylist()]
        known = {acl: place for place, acl in enumerate(dict.fromkeys(lists))}
        self._acl.append(list(known), np.array([known[acl] for acl in lists], dtype=np.int32))
        self._rows += count

    def mask(self, where: Where | None, groups: Sequence[str]) -> Mask:
        """Bool [rows]: readable by one of `groups` and fulfilling `where`.

        A field that a chunk does not have never matches.

        Raises:
            InputError: `where` is malformed.
        """
        mask = self._acl.matches(lambda acl: may_read(acl, groups))
        for name, wanted in (where or {}).items():
            test = _condition(name, wanted)
            column = self._fields.get(name)
            if column is None:
                return np.zeros(self._rows, dtype=np.bool_)
            mask &= column.matches(test)
        return mask


def readable(rows: pa.Table, groups: Sequence[str]) -> pa.Table:
    """The chunks, by their column `acl`, that somebody in `groups` may read."""
    mask = [may_read(acl, groups) for acl in rows["acl"].to_pylist()]
    return rows.filter(pa.array(mask, pa.bool_()))


def _distinct(column: pa.ChunkedArray) -> tuple[list[Any], Codes]:
    """The column's distinct values, and the place of each row's among them."""
    coded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    return coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False)


def _names(objects: Sequence[Mapping[str, Any]]) -> set[str]:
    return {name for item in objects for name in item}


def _key(value: Any) -> Any:
    return (type(value), value)  # True, 1 and 1.0 are equal in Python and differ here


def _condition(name: str, wanted: Any) -> Callable[[Any], bool]:
    if isinstance(wanted, Mapping):
        return _bounds(name, wanted)
    options = wanted if isinstance(wanted, list | tuple) else [wanted]
    if not all(isinstance(option, Scalar) for option in options):
        raise InputError(f"where.{name}={wanted!r}: expected a scalar, a list of them, or bounds")
    return lambda value: any(_comparable(value, option) and value == option for option in options)


def _bounds(name: str, wanted: Mapping[str, Any]) -> Callable[[Any], bool]:
    for key, bound in wanted.items():
        if key not in _BOUNDS:
            raise InputError(f"where.{name}.{key}: expected one of {', '.join(_BOUNDS)}")
        if bound is None or not isinstance(bound, Scalar):
            raise InputError(f"where.{name}.{key}={bound!r}: expected a text or a number")
    if not wanted:
        raise InputError(f"where.{name}={{}}: expected one of {', '.join(_BOUNDS)}")
    return lambda value: all(
        _comparable(value, bound) and _BOUNDS[key](value, bound) for key, bound in wanted.items()
    )


def _comparable(value: Any, other: Any) -> bool:
    numbers = (int, float)
    if isinstance(value, bool) or isinstance(other, bool):
        return isinstance(value, bool) and isinstance(other, bool)
    return (isinstance(value, numbers) and isinstance(other, numbers)) or (
        type(value) is type(other) and value is not _MISSING
    )
