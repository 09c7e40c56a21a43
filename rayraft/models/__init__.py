"""Model roles. Nothing here imports torch on its own; `embedder` and `text` do."""
