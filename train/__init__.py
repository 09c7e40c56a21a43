"""Ray Train: features, the LoRA and full fine-tuning loop with DeepSpeed, evaluation."""
