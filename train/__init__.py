"""Ray Train: features, the LoRA and full fine-tuning loop with DeepSpeed, evaluation."""

import rayraft  # noqa: F401  # before torch: it says how threads wait for each other
