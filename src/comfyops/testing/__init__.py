"""Helpers for tests, shipped so that those who build on ComfyOps can use them too."""
