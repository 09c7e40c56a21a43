"""Tables of this process as a dataset."""

from collections.abc import Iterable

import pyarrow as pa
import ray.data


def from_tables(tables: Iterable[pa.Table]) -> ray.data.Dataset:
    """A dataset with a block a table, in their order.

    `ray.data.from_arrow` would have workers look at each table's size: processes that take 4 s of
    CPU time to import Ray Data, before any that work can start (ray 2.60).
    """
    dataset: ray.data.Dataset = ray.data.from_blocks(list(tables))
    return dataset
