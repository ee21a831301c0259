"""Replays what real ComfyUI servers answered against the simulator, and reports what is equal and what is not."""
