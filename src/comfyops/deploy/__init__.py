"""Starting ComfyUI on this machine with its own Python, and stopping it."""
