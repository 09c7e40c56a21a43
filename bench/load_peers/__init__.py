"""The peers of `bench/serve_load.py`; each runs in an environment of its own."""
