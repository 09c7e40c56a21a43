"""Benchmarks: each is one script that runs ours and its peers in turn on the same work."""
