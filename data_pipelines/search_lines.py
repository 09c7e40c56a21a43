"""What `rayraft search` prints of a passage."""

import json
import re

from data_pipelines.config import RetrievalConfig
from rayraft.records import FoundBy, Passage


def passage_lines(
    number: int, passage: Passage, query: str = "", config: RetrievalConfig | None = None
) -> str:
    """One passage for a terminal: its scores, with `config` also why it was found."""
    lines = [f"\n{number}. {passage.title or passage.document_id}  [{passage.chunk_id}]"]
    lines.append(f"   {_scores(passage)}")
    if config is not None:
        lines += [f"   {line}" for line in _reasons(passage, query, config)]
    return "\n".join([*lines, f"   {' '.join(passage.text.split())}"])


def _scores(passage: Passage) -> str:
    found = passage.found or FoundBy()
    scores = [
        ("dense", passage.dense_score, 3),
        ("bm25", passage.sparse_score, 2),
        ("fused", found.fused_score, 4),
        ("rerank", found.rerank_score, 3),
    ]
    texts = [
        f"{name} {'-' if score is None else f'{score:.{digits}f}'}"
        for name, score, digits in scores
    ]
    return ", ".join(texts)


def _reasons(passage: Passage, query: str, config: RetrievalConfig) -> list[str]:
    found = passage.found or FoundBy()
    if found.beside is not None:
        lines = [f"why      it stands beside {found.beside} in its document"]
    else:
        lines = [f"why      {_places(found, config)}"]
        if found.rerank_score is not None:
            lines.append(f"         the reranker had it from place {found.fused_position}")
    words = sorted(_words(query) & _words(f"{passage.title} {passage.text}"))
    if words:
        lines.append(f"         words of the question in it: {', '.join(words)}")
    lines.append(f"place    characters {passage.start}-{passage.end} of {passage.document_id}")
    if passage.updated_in is not None:
        lines[-1] += f", written in version {passage.updated_in}"
    if passage.metadata:
        lines.append(f"metadata {json.dumps(passage.metadata, ensure_ascii=False)}")
    return lines


def _places(found: FoundBy, config: RetrievalConfig) -> str:
    lists = [
        ("dense", found.dense_position, config.dense_weight),
        ("bm25", found.sparse_position, config.sparse_weight),
    ]
    places = ", ".join(f"{name} place {place or '-'}" for name, place, _ in lists)
    if config.fusion == "weighted":
        rule = f"weights {config.dense_weight:g} and {config.sparse_weight:g}"
    else:
        rule = " + ".join(f"{w:g}/({config.rrf_k}+{place})" for _, place, w in lists if place)
    return f"{places} -> fused place {found.fused_position} ({config.fusion}: {rule})"


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > 2}
