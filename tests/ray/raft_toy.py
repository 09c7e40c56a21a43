"""RAFT examples of a few words."""

from typing import Literal

from rayraft.prompts import completion
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
