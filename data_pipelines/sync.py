"""`ingest --sync`: which stored documents the source no longer holds, and when it is too many."""

from collections.abc import Collection, Mapping

from data_pipelines.config import SyncConfig
from data_pipelines.quarantine import Rejected
from rayraft.errors import InputError


def plan_removals(
    stored_uris: Mapping[str, str], found_ids: Collection[str], rejected: Collection[Rejected]
) -> list[str]:
    """Ids of stored documents that the source does not hold any more, sorted.

    A document that is in the source and cannot be read now stays as it is, and so do all documents
    of a file of which a part cannot be read: which one that part is, nobody knows.

    Args:
        stored_uris: Where each stored document was read from, by its id.
        found_ids: Ids of the documents that were read.
        rejected: What could not be read.
    """
    known = {*found_ids, *(item.document_id for item in rejected)}
    files = {_file_of(item.uri) for item in rejected}
    return sorted(
        document_id
        for document_id, uri in stored_uris.items()
        if document_id not in known and _file_of(uri) not in files
    )


def check_removals(removed: Collection[str], stored: int, config: SyncConfig) -> None:
    """Refuses a run that would empty the store by accident.

    Raises:
        InputError: It would remove more than `sync.max_removed_share`.
    """
    share = len(removed) / stored if removed else 0.0
    if share > config.max_removed_share:
        raise InputError(
            f"--sync would remove {len(removed)} of {stored} documents ({share:.0%}), more than "
            f"sync.max_removed_share={config.max_removed_share:g}; nothing was changed. If that is "
            f"what you want, say sync.max_removed_share={min(1.0, share + 0.005):.2f}"
        )


def _file_of(uri: str) -> str:
    """The file of a document that is a row (`file:17`) or a member (`file!member`) of one."""
    file, separator, place = uri.partition("!")[0].rpartition(":")
    return file if separator and place.isdigit() else uri.partition("!")[0]
