"""Ray Serve: the answering service. Always `import ray.serve`, never `from ray import serve`."""
