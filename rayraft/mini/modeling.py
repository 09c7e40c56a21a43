"""The mini model: MiniLM reads, three layers write, a copy head takes words from the source.

The source is a flat row of segments, each beginning with [CLS]; every segment is read by itself
(Fusion-in-Decoder, arXiv 2007.01282), and the decoder attends to all of them together. So cost
grows linearly with the number of passages, and positions start anew in each.

Shapes: B rows, T target tokens, S source tokens, G segments, W widest segment, D width,
V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GenerationMixin
from transformers.cache_utils import EncoderDecoderCache
from transformers.modeling_outputs import Seq2SeqLMOutput

from rayraft.mini.answer_span import span_loss
from rayraft.mini.configuration import MiniConfig
from rayraft.mini.copy_ahead import CopyAhead
from rayraft.mini.copying import CopyHead, copied_from, match_lengths, written_last
from rayraft.mini.layers import padding_mask
from rayraft.mini.packing import MASKED, Layout
from rayraft.mini.pretrained import MiniPreTrainedModel
from rayraft.mini.stacks import MiniDecoder, MiniEncoder, MiniEncoderOutput

IGNORED = -100


class MiniForConditionalGeneration(MiniPreTrainedModel, GenerationMixin):
    """Sequence-to-sequence model with a copy head; the word embeddings are MiniLM's, frozen."""

    draft_tokens = 16
    """What `prompt_lookup_num_tokens` should be: a quote is drafted from the source."""

    config: MiniConfig

    def __init__(self, config: MiniConfig) -> None:
        super().__init__(config)
        self.encoder = MiniEncoder(config, self.shared)
        self.decoder = MiniDecoder(config, self.shared)
        self.copy = CopyHead(config)
        self.vocabulary_bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(  # noqa: PLR0913  the names are Transformers'
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        labels: Tensor | None = None,
        encoder_outputs: MiniEncoderOutput | None = None,
        past_key_values: EncoderDecoderCache | None = None,
        history_ids: Tensor | None = None,
        **_: Any,
    ) -> Seq2SeqLMOutput:
        """The mean loss over labelled tokens, or (without labels) log-probabilities as logits.

        Args:
            input_ids: Source int64 [B, S]; each segment begins with [CLS].
            attention_mask: 1 for real source tokens, [B, S].
            decoder_input_ids: int64 [B, T]; made from `labels` when those are given.
            labels: int64 [B, T], -100 where there is no loss. With labels no logits are computed
                over the vocabulary for the whole batch: `logits` is None.
            encoder_outputs: The encoder's output, to decode step by step.
            past_key_values: Cache; `decoder_input_ids` are then the new tokens only.
            history_ids: All output tokens so far, needed with a cache by the copy head.
        """
        if encoder_outputs is None:
            encoder_outputs = self.encoder(input_ids, attention_mask)
        source = encoder_outputs.source_ids
        mask_BS = torch.ones_like(source) if attention_mask is None else attention_mask
        if labels is not None:
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        assert decoder_input_ids is not None
        layout = _target_layout(decoder_input_ids, labels)
        decoded_ND = self.decoder(
            decoder_input_ids,
            layout,
            encoder_outputs.last_hidden_state,
            padding_mask(mask_BS),
            past_key_values,
        )
        history = decoder_input_ids if history_ids is None else history_ids
        written = written_last(history, layout.width, self.config.copy_context)
        pointer = self.pointer(decoded_ND, layout, encoder_outputs, mask_BS, written)
        if labels is not None:
            loss = self._loss(decoded_ND, layout.pack(pointer), layout, encoder_outputs, labels)
            return Seq2SeqLMOutput(loss=loss)
        return Seq2SeqLMOutput(
            logits=self._mixture(layout.pad(decoded_ND), pointer, source),
            past_key_values=past_key_values,
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
        )

    def pointer(
        self,
        decoded_ND: Tensor,
        layout: Layout,
        encoded: MiniEncoderOutput,
        mask_BS: Tensor,
        written_BTC: Tensor,
    ) -> Tensor:
        """Log-probabilities float32 [B, T, S] of the source positions that may be copied from.

        `written_BTC` are the tokens before each next one (`written_last`).
        """
        source = encoded.source_ids
        copyable = mask_BS.bool() & (source != self.config.cls_token_id)
        copyable &= source != self.config.eos_token_id
        matches = match_lengths(written_BTC, source)
        return self.copy.log_pointer(decoded_ND, layout, encoded.copy_keys, matches, copyable)

    def vocabulary_logits(self, decoded: Tensor) -> Tensor:
        """float32 [..., V] of states [..., D]."""
        return F.linear(decoded, self.shared.weight, self.vocabulary_bias).float()

    def _loss(
        self,
        decoded_ND: Tensor,
        pointer_NS: Tensor,
        layout: Layout,
        encoded: MiniEncoderOutput,
        labels_BT: Tensor,
    ) -> Tensor:
        """Mean negative log-likelihood of the labels, and of the answers' spans.

        Only the labelled tokens meet the vocabulary. A row's span counts as `span_weight` labels.
        """
        labels = layout.pack(labels_BT)
        wanted = labels != IGNORED
        decoded, target = decoded_ND[wanted], labels[wanted]
        copying, generating = self.copy.log_gate(decoded)
        logits = self.vocabulary_logits(decoded)
        generated = generating - F.cross_entropy(logits, target, reduction="none")
        copied_BTS = copied_from(labels_BT, encoded.source_ids)
        here_NS = layout.pack(copied_BTS)
        copied = pointer_NS.masked_fill(~here_NS, MASKED).logsumexp(-1)[wanted] + copying
        spans = span_loss(encoded.span_log, labels_BT, copied_BTS, self.config)
        written = -torch.logaddexp(copied, generated).sum()
        loss: Tensor = (written + self.config.span_weight * spans) / len(target)
        return loss

    def _mixture(self, decoded_BTD: Tensor, pointer_BTS: Tensor, source_BS: Tensor) -> Tensor:
        """Log-probabilities float32 [B, T, V] of copying and generating together."""
        copying, generating = self.copy.log_gate(decoded_BTD)
        probabilities = (
            self.vocabulary_logits(decoded_BTD).softmax(-1) * generating.exp()[..., None]
        )
        pointed = pointer_BTS.exp() * copying.exp()[..., None]
        index = source_BS[:, None, :].expand_as(pointed)
        return probabilities.scatter_add(-1, index, pointed).clamp_min(1e-20).log()

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """The labels shifted right by one, beginning with the start token."""
        shifted = F.pad(labels, (1, 0), value=self.config.decoder_start_token_id)[:, :-1]
        return shifted.masked_fill(shifted == IGNORED, self.config.pad_token_id)

    def prepare_inputs_for_generation(  # type: ignore[override]
        self, input_ids: torch.LongTensor, **kwargs: Any
    ) -> dict[str, Any]:
        """Transformers' own inputs, and the tokens before the new one for the copy head."""
        inputs: dict[str, Any] = GenerationMixin.prepare_inputs_for_generation(
            self,  # type: ignore[arg-type]
            input_ids,
            **kwargs,
        )
        return {**inputs, "history_ids": input_ids}

    def _get_candidate_generator(  # type: ignore[override]
        self, generation_config: Any, **kwargs: Any
    ) -> Any:
        """With `prompt_lookup_num_tokens`, drafts come from the source."""
        if generation_config.prompt_lookup_num_tokens is None:
            return GenerationMixin._get_candidate_generator(
                self,  # type: ignore[arg-type]
                generation_config,
                **kwargs,
            )
        return CopyAhead(
            kwargs["model_kwargs"]["encoder_outputs"].source_ids,
            {self.config.pad_token_id, self.config.cls_token_id, self.config.eos_token_id},
            generation_config.prompt_lookup_num_tokens,
            generation_config.max_length,
        )

    def get_encoder(self, modality: str | None = None) -> MiniEncoder:
        """The encoder, which `generate` runs once."""
        return self.encoder


def _target_layout(decoder_input_ids: Tensor, labels: Tensor | None) -> Layout:
    """Without labels every position counts, with them those up to a row's last label."""
    if labels is None:
        return Layout.of(None, *decoder_input_ids.shape)
    labelled = (labels != IGNORED).long()
    # From the right: True from the last label on, to the left.
    return Layout.of(labelled.flip(1).cumsum(1).flip(1) > 0, *labels.shape)
