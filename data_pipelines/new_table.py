"""How a Lance table begins, where several processes may begin it at once."""

import logging
from contextlib import suppress

import lance
import pyarrow as pa

logger = logging.getLogger(__name__)


def create_once(uri: str, schema: pa.Schema, *, stable_row_ids: bool = False) -> None:
    """An empty table at `uri`, unless there is one: that one is left as it is.

    `lance.write_dataset(mode="create")` looks whether there is a table and commits afterwards; on a
    conflict it tries again on top of the newer version, and what others wrote in between is gone.

    Args:
        uri: Of the table.
        schema: Of the table, with its metadata.
        stable_row_ids: Lance then keeps the version in which each row last changed.

    Raises:
        OSError: There is none, and it cannot be made.
    """
    nothing = lance.LanceOperation.Overwrite(schema, [])
    try:
        # Based on version 0 and not tried again: where any version exists, Lance refuses it.
        lance.LanceDataset.commit(
            uri, nothing, read_version=0, max_retries=0, enable_stable_row_ids=stable_row_ids
        )
    except OSError:
        if not _is_table(uri):
            raise
        logger.info("another process created %s first", uri)


def _is_table(uri: str) -> bool:
    with suppress(ValueError, OSError):
        lance.dataset(uri)
        return True
    return False
