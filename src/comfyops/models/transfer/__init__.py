"""Model files fetched: several files and ranges at once, resumed, verified, then put in their place."""

from comfyops.models.transfer.engine import Transfers
from comfyops.models.transfer.request import DownloadProgress, FileRequest, FileResult, TransferSettings

__all__ = ["DownloadProgress", "FileRequest", "FileResult", "TransferSettings", "Transfers"]
