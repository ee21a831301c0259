"""ComfyUI's own API served by the durable queue: its clients gain durability without a change."""
