"""Backends: ComfyUI servers, and the one client that speaks to them."""
