"""Configurations of the mini models; importing this makes them known to Transformers."""

from typing import Any

from transformers import AutoConfig, PretrainedConfig

from rayraft.mini import READER_TYPE, RERANKER_TYPE
from rayraft.mini.layers import LAYER_NORM_EPS


class MiniConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """MiniLM's sizes for the encoder, the same layer type with cross-attention for the decoder."""

    model_type = READER_TYPE
    layer_norm_eps = LAYER_NORM_EPS

    # How a finished reader answers (`span_reading.py`); among the keyword arguments.
    span_candidates = 0
    """Spans of the source that are tried as answers; 0: all is written word by word."""
    span_trust = 1.0
    """What the encoder's word on a span counts beside the decoder's."""
    abstain_lean = 0.0
    """Added to the score of abstaining, nats."""

    keys_to_ignore_at_inference = ("past_key_values",)

    def __init__(  # noqa: PLR0913  Transformers wants one argument for each setting
        self,
        vocab_size: int = 30522,
        hidden_size: int = 384,
        intermediate_size: int = 1536,
        num_attention_heads: int = 12,
        encoder_layers: int = 6,
        num_hidden_layers: int = 3,
        max_positions: int = 512,
        max_target_positions: int = 192,
        copy_context: int = 4,
        dropout: float = 0.0,
        span_weight: float = 8.0,
        answer_token_id: int = 3,
        abstain_token_id: int = 4,
        wheel_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        """Every argument has MiniLM's value as its default.

        Args:
            vocab_size: Word pieces, special tokens included.
            hidden_size: Width of all states.
            intermediate_size: Width inside the feed-forward blocks.
            num_attention_heads: Heads of every attention but the copy head, which has one.
            encoder_layers: Layers of the encoder.
            num_hidden_layers: Layers of the decoder.
            max_positions: Positions within one source segment.
            max_target_positions: Tokens of the longest target.
            copy_context: Previous output tokens compared with the source by the copy head.
            dropout: Share of the states' elements that training sets to zero.
            span_weight: How many label tokens the answer's span counts as in a row's loss.
            answer_token_id: The token after which an output says its answer.
            abstain_token_id: The answer that there is none.
            wheel_embeddings: Word embeddings are those of the MiniLM wheel and are not saved.
            **kwargs: Transformers' own settings.
        """
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_attention_heads = num_attention_heads
        self.encoder_layers = encoder_layers
        self.num_hidden_layers = num_hidden_layers
        self.max_positions = max_positions
        self.max_target_positions = max_target_positions
        self.copy_context = copy_context
        self.dropout = dropout
        self.span_weight = span_weight
        self.answer_token_id = answer_token_id
        self.abstain_token_id = abstain_token_id
        self.wheel_embeddings = wheel_embeddings
        defaults = {
            "is_encoder_decoder": True,
            "pad_token_id": 0,
            "cls_token_id": 101,
            "eos_token_id": 102,
            "decoder_start_token_id": 0,
            "tie_word_embeddings": False,
        }
        super().__init__(**{**defaults, **kwargs})


class MiniRerankerConfig(MiniConfig):  # type: ignore[no-untyped-call]
    """The encoder's sizes; what concerns a decoder has no meaning."""

    model_type = RERANKER_TYPE

    def __init__(self, **kwargs: Any) -> None:
        """Arguments of `MiniConfig`; one label, the score."""
        super().__init__(**{"is_encoder_decoder": False, "num_labels": 1, **kwargs})


AutoConfig.register(MiniConfig.model_type, MiniConfig, exist_ok=True)
AutoConfig.register(MiniRerankerConfig.model_type, MiniRerankerConfig, exist_ok=True)
