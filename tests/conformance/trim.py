"""Makes the compact test data out of a folder of recordings.

    python -m tests.conformance.trim FOLDER_OF_0.8.0 FOLDER_OF_0.33.0

What is thrown away: headers that nobody compares, times, texts for people, tracebacks, paths of the recording machine,
and long paddings of request bodies (kept as a length).
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

from comfyops.workflows.node_types import without_prose

DATA = Path(__file__).parent.parent / "data" / "recordings"
HEADERS = (
    "Content-Type",
    "Content-Disposition",
    "Cache-Control",
    "X-Content-Type-Options",
    "Vary",
    "Allow",
    "Content-Range",
    "Accept-Ranges",
)
REQUESTS = {
    "0.8.0": (
        "http_api_prefix",
        "http_get",
        "prompt_post",
        "upload_view_userdata",
        "0.33.0/extra_v080",
    ),
    "0.33.0": (
        "extra_v033",
        "http_api_prefix",
        "http_get",
        "jobs_v033",
        "prompt_post",
        "upload_view_userdata",
    ),
}
WHOLE = (
    "chain_depth_limit",
    "history_cached_no_client_id",
    "history_cached_unconnected_client_id",
    "output_kinds",
    "poison_prompts",
    "poison_same_number_same_id",
    "queue_interrupt_free_history",
    "ws_execution_error_corrupt_image",
    "ws_execution_error_scalar_link",
    "ws_feature_flags_negotiation",
    "ws_flagged_observer_broadcast",
    "ws_interrupted_targeted",
    "ws_no_client_id_and_bad_messages",
    "ws_overlapping_sockets_same_client_id",
    "ws_run_preview_flags",
    "ws_run_preview_legacy",
    "ws_run_then_cached",
)
_PADDING = re.compile(r"(.)\1{400,}")
_PATH = re.compile(r"/opt/[\w./-]*/")
_DROPPED = (
    "traceback",
    "log_tail",
    "err",
    "t_ms",
    "hex_head",
    "ms",
    "reason",
    "len",
    "image_bytes",
    "rss_mb",
    "reqs_sanity",
)


def trimmed(data: Any) -> Any:
    """A recording without what nobody compares."""
    if isinstance(data, dict):
        whole = len(data.get("hex_head", "")) == 2 * data.get("binary_len", -1)
        return {
            key: _headers(item) if key == "headers" else trimmed(item)
            for key, item in data.items()
            if key not in _DROPPED or (key == "hex_head" and whole)
        }
    if isinstance(data, list):
        return [trimmed(item) for item in data]
    if isinstance(data, str):
        text = _PATH.sub("/", data.replace("/opt/lab", "/etc"))
        return _PADDING.sub(lambda match: f"<{match[1]}*{len(match[0])}>", text)
    return data


def _headers(headers: dict[str, str]) -> dict[str, str]:
    asked = ("Origin", "Host", "Range", "If-None-Match", "Content-Encoding", "Comfy-Usage-Source", "X-Big")
    kept = (*HEADERS, *asked, "Sec-Fetch-Site", "Sec-Fetch-Dest")
    return {key: trimmed(value) for key, value in headers.items() if key in kept}


def _requests(path: Path) -> list[dict[str, Any]]:
    cases = [case for case in json.loads(path.read_text()) if "request" in case]
    for case in cases:
        body = case["response"].get("json")
        if case["request"]["path"].endswith("/global_subgraphs"):
            case["response"]["json"] = {}
        if isinstance(body, dict) and "comfy_package_versions" in body.get("system", {}):
            body["system"]["python_version"] = ""
        if (isinstance(body, str) and len(body) > 1000) or "/internal/logs" in case["request"]["path"]:
            case["response"] |= {"json": "<log>"} if case["response"]["status"] == 200 else {}
        if "body" in case["response"] and str(case["response"]["body"]).startswith("<!doctype"):
            case["response"]["body"] = "<page>"
    return trimmed(without_prose(cases))


def main(older: Path, newer: Path) -> None:
    """Write one file per version."""
    for version, folder in (("0.8.0", older), ("0.33.0", newer)):
        data: dict[str, Any] = {}
        for name in REQUESTS[version]:
            data[name.rpartition("/")[2]] = _requests(folder / f"{name}.json")
        for name in WHOLE:
            if (folder / f"{name}.json").is_file():
                data[name] = trimmed(json.loads((folder / f"{name}.json").read_text()))
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=True)
        DATA.mkdir(parents=True, exist_ok=True)
        (DATA / f"{version}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
