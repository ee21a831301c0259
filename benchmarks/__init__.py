"""How fast ComfyOps is: `python -m benchmarks` prints one table and writes it as JSON. Each file measures a subject."""
