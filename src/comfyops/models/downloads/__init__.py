"""Downloads that run in a process and can be steered: from its other threads, from other processes, after a restart."""

from comfyops.models.downloads.events import Download, Events
from comfyops.models.downloads.live import Downloads

__all__ = ["Download", "Downloads", "Events"]
