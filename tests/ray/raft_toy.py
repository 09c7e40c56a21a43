"""RAFT examples of a few words."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from data_pipelines.artifacts import publish
from data_pipelines.raft_publishing import parquet_bytes
from rayraft.manifests import Manifest
from rayraft.prompts import completion, prompt_digest
from rayraft.records import Passage, RaftExample


def toy_example(number: int, split: Literal["train", "validation"]) -> RaftExample:
    """Three short passages; the second holds the answer."""
    passages = [
        Passage(chunk_id=f"c{number + i}", document_id="d", title="w1", text=f"w{number + i} w2 w3")
        for i in range(3)
    ]
    quote, answer = passages[1].text, f"w{number + 1}"
    return RaftExample(
        example_id=str(number),
        chunk_id=passages[1].chunk_id,
        document_id="d",
        question=f"w{number + 1} w4",
        passages=passages,
        golden_ids=[passages[1].chunk_id],
        has_golden=True,
        quote=quote,
        answer=answer,
        completion=completion(quote, answer),
        split=split,
    )


def publish_toy_run(
    store: str, name: str, train: Iterable[int], validation: Iterable[int], **bound: Any
) -> None:
    """A RAFT run of such examples, by their numbers; `bound` goes into its manifest."""
    files: dict[str, bytes | Path] = {
        "train.parquet": parquet_bytes([toy_example(i, "train") for i in train]),
        "validation.parquet": parquet_bytes([toy_example(i, "validation") for i in validation]),
    }
    publish(
        store, "raft", name, files, Manifest(kind="raft", prompt_digest=prompt_digest(), **bound)
    )
