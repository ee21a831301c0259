"""ComfyOps: a production backend for ComfyUI."""

__version__ = "0.1.0"
