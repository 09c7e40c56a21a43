"""Base models before they are loaded: which folder a name means, and what its bytes are."""

import functools
import hashlib
from pathlib import Path

import rayraft.mini
from rayraft.errors import NotFoundError
from rayraft.models.embedder_tokenizer import DEFAULT_EMBEDDER
from rayraft.models.embedder_tokenizer import model_folder as embedder_folder

MINI, MINI_RERANKER = "mini", "mini-reranker"
_DIGESTED = ("*.safetensors", "tokenizer*.json", "config.json", "chat_template*", "*.model")


def base_folder(base_model: str) -> Path:
    """The folder with a base model's files; one of the hub is downloaded, or found in its cache.

    Raises:
        NotFoundError: No such folder, and the hub gives none.
    """
    if base_model in (MINI, MINI_RERANKER):
        return rayraft.mini.WEIGHTS if base_model == MINI else rayraft.mini.RERANKER
    if base_model == DEFAULT_EMBEDDER:
        return embedder_folder(base_model)
    folder = Path(base_model)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base_model, allow_patterns=["*.json", "*.jinja", *_DIGESTED]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as exc:
        reason = " ".join(str(exc).split())[:200]
        raise NotFoundError(
            f"base model {base_model!r}: no folder and not on the hub: {reason}"
        ) from exc


def base_digest(base_model: str) -> str:
    """Hex sha256 over weights, tokenizer and configuration: what an adapter is bound to."""
    folder = base_folder(base_model)
    files = sorted({path for pattern in _DIGESTED for path in folder.glob(pattern)})
    stamps = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    return _digest_files(stamps)


@functools.lru_cache(maxsize=32)
def _digest_files(stamps: tuple[tuple[str, int, int], ...]) -> str:
    # Keyed by size and time: weights are hashed once a process unless they change.
    total = hashlib.sha256()
    for name, _, _ in stamps:
        with open(name, "rb") as file:
            total.update(
                f"{Path(name).name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
            )
    return total.hexdigest()
