"""Packs of custom nodes on this machine: which are there, having others, pinned, and removing them."""
