"""An embedder as it is trained: questions and passages of a group, each question's own among all.

A row of `input_ids` is a group: first its questions, then its passages, each from [CLS] to [SEP].
A row of `labels` is a matrix, question by question, that says of each passage what it is to the
question: RIGHT, WRONG, or `IGNORED` where it is neither for sure. Groups are rows of the common
loop, so what a step computes depends neither on micro batches nor on the number of workers.

Source: InfoNCE, arXiv 1807.03748; negatives from the batch and hard ones, arXiv 2004.04906.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from rayraft.models.base import BaseModel
from rayraft.models.dtypes import torch_dtype
from rayraft.models.embedder import pooled
from rayraft.models.embedder_tokenizer import model_folder
from train.features import IGNORED

WRONG, RIGHT = 0, 1
COPIED = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
"""Files of an embedder that training leaves as they are; the last two where there are any."""


def load_encoder(name: str, precision: str) -> BaseModel:
    """The embedder `name`, a name or folder that `Embedder` loads, with its tokenizer.

    Raises:
        ConfigError: Unknown name.
    """
    folder = model_folder(name)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]", cls_token="[CLS]"
    )
    # Labels are counted beside the input, as those of a model with an encoder are.
    return BaseModel(load_bert(folder, torch_dtype(precision)), tokenizer, is_encoder_decoder=True)


def load_bert(folder: Path, dtype: torch.dtype) -> Any:
    """The model in an embedder's folder, without a pooler, as PEFT can train it."""
    # Not from_pretrained: it prints a progress bar and a report about the unused pooler into the
    # log of every worker.
    config: Any = BertConfig.from_pretrained(folder, attn_implementation="sdpa")
    model: Any = BertModel(config, add_pooling_layer=False)
    weights = load_file(folder / "model.safetensors")
    wanted = model.state_dict().keys()
    model.load_state_dict({key: weights[key] for key in wanted})
    return model.to(dtype).eval()


class ContrastiveEncoder(torch.nn.Module):
    """An embedder whose forward pass gives the loss of groups."""

    def __init__(self, encoder: Any, cls_token_id: int, temperature: float) -> None:
        """Args: an encoder (with LoRA layers or without), where segments begin, InfoNCE's T."""
        super().__init__()
        self.encoder = encoder
        self.cls_token_id, self.temperature = cls_token_id, temperature

    @property
    def config(self) -> Any:
        """The encoder's."""
        return self.encoder.config

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor
    ) -> SimpleNamespace:
        """`.loss`: each group's mean over its questions, weighted by its labels, fp32 [].

        Args:
            input_ids: int64 [groups, longest], segments one after the other.
            attention_mask: int64 [groups, longest], 0 after the last segment.
            labels: int64 [groups, most], a matrix [questions, passages] each, row by row.
        """
        losses, weights = [], []
        for ids, mask, own in zip(input_ids, attention_mask, labels, strict=True):
            losses.append(self._group(ids[mask.bool()], own))
            weights.append((own != IGNORED).sum())
        weight = torch.stack(weights)
        return SimpleNamespace(loss=(torch.stack(losses) * weight).sum() / weight.sum())

    def _group(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        starts = (ids == self.cls_token_id).nonzero().flatten()
        segments = list(ids.tensor_split(starts[1:].cpu()))
        asked = int((labels == RIGHT).sum())  # a question has one right passage
        questions, passages = self._embed(segments[:asked]), self._embed(segments[asked:])
        what = labels[: asked * len(passages)].view(asked, len(passages))
        similar = questions @ passages.T / self.temperature  # [questions, passages]
        similar = similar.masked_fill(what == IGNORED, float("-inf"))
        return torch.nn.functional.cross_entropy(similar, what.argmax(1))

    def _embed(self, segments: list[torch.Tensor]) -> torch.Tensor:
        ids = torch.nn.utils.rnn.pad_sequence(segments, batch_first=True)  # 0 is [PAD]
        lengths = torch.tensor([len(segment) for segment in segments], device=ids.device)
        mask = (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]).long()
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return pooled(hidden, mask)


def export_encoder(
    model: ContrastiveEncoder, weights: dict[str, torch.Tensor], base_model: str, to: Path
) -> None:
    """Writes an embedder with its adapters merged, as `Embedder` loads it.

    Args:
        model: As it is prepared for training.
        weights: Whole fp32 tensors of what was trained, by parameter name.
        base_model: The embedder that training began with.
        to: An existing folder.
    """
    missing = set(weights) - set(dict(model.named_parameters()))
    assert not missing, f"trained parameters that the base lacks: {missing}"
    model.load_state_dict(weights, strict=False)
    encoder = model.encoder
    whole = encoder.merge_and_unload() if hasattr(encoder, "merge_and_unload") else encoder
    tensors = {name: t.float().contiguous() for name, t in whole.state_dict().items()}
    save_file(tensors, to / "model.safetensors")
    folder = model_folder(base_model)
    for name in COPIED:
        if (folder / name).is_file():
            (to / name).write_bytes((folder / name).read_bytes())
