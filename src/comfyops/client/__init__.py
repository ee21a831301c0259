"""A gateway's durable jobs from Python: submit, await, follow, fetch. The command line is built on this."""

from comfyops.client.blocking import Blocking
from comfyops.client.client import Client
from comfyops.client.handles import BatchHandle, JobHandle
from comfyops.client.saving import SavedFile
from comfyops.client.values import (
    Batch,
    Event,
    Explanation,
    Health,
    Job,
    JobOutput,
    JobPage,
    JobProblem,
    JobProgress,
    LogEntry,
    Upload,
)

__all__ = [
    "Batch",
    "BatchHandle",
    "Blocking",
    "Client",
    "Event",
    "Explanation",
    "Health",
    "Job",
    "JobHandle",
    "JobOutput",
    "JobPage",
    "JobProblem",
    "JobProgress",
    "LogEntry",
    "SavedFile",
    "Upload",
]
