"""What commands leave in a store beside its artifacts: unfinished work and copies.

They may be deleted at any time, which costs time and nothing else. They hold texts and vectors of
documents and stand in no manifest, so whoever forgets a document deletes them all.
"""

from data_pipelines import embedding_staging, raft_staging
from data_pipelines.stores import exists, open_filesystem

WORKSPACES = "workspaces"
"""Copies of the store that comparisons write into."""
FOLDERS = (raft_staging.FOLDER, embedding_staging.FOLDER, WORKSPACES)


def discard_leftovers(store: str) -> list[str]:
    """Deletes them; returns the folders that there were.

    What runs meanwhile has its rows in memory, and only could not be resumed; a comparison makes
    its copy anew when it is started again.
    """
    filesystem, root = open_filesystem(store)
    found = []
    for folder in FOLDERS:
        if exists(filesystem, f"{root}/{folder}"):
            filesystem.delete_dir(f"{root}/{folder}")
            found.append(folder)
    return found
