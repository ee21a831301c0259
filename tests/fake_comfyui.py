"""A folder that looks like a ComfyUI installation: a `main.py` that serves GET /system_stats, nothing else.

What its environment variables and arguments ask for: it dies, it hangs, it prints a lot, it starts a child.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

MAIN = '''
"""A stand-in for ComfyUI, for tests of what starts it."""
import argparse, json, os, signal, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

parser = argparse.ArgumentParser()
for name in ("--listen", "--enable-cors-header", "--fail", "--child"):
    parser.add_argument(name, default="")
parser.add_argument("--port", type=int)
parser.add_argument("--cpu", action="store_true")
parser.add_argument("--noise", type=int, default=0)
chosen = parser.parse_args()
print("arguments", json.dumps(sys.argv[1:]), "secret", os.environ.get("COMFYOPS_TOKEN", "none"))
if chosen.fail == "module":
    import a_module_that_is_not_there
if chosen.fail == "exit":
    print("ModuleNotFoundError: No module named 'triton'", file=sys.stderr)
    print("something is wrong", file=sys.stderr)
    sys.exit(3)
if chosen.fail == "deaf":
    signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)
if chosen.fail == "silent":
    time.sleep(600)
for number in range(chosen.noise):
    print("noise", number, "x" * 100)
if chosen.child:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(chosen.child, "w").write(str(child.pid))

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"system": {"comfyui_version": "0.0.test"}, "devices": []}).encode()
        self.send_response(200 if self.path == "/system_stats" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *parts):
        pass

try:
    HTTPServer((chosen.listen, chosen.port), Handler).serve_forever()
except KeyboardInterrupt:
    print("Stopped server")
'''

SIMULATED = '''
"""A stand-in for ComfyUI that runs workflows: the simulator."""
import argparse, sys
from comfyops.cli.main import run

parser = argparse.ArgumentParser()
parser.add_argument("--port")
sys.exit(run(["simulate", "--port", parser.parse_known_args()[0].port]))
'''

MORTAL = '''
"""A stand-in for ComfyUI that dies when it is told to, and whose worker is dead when its queue says so."""
import argparse, json, os, pathlib
from http.server import BaseHTTPRequestHandler, HTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
port = parser.parse_known_args()[0].port
queue = pathlib.Path("queue.json")
queue.unlink(missing_ok=True)
if pathlib.Path("broken").exists():
    raise SystemExit("it is broken")
with open("starts.txt", "a") as file:
    file.write(f"{os.getpid()}\\n")

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(3)
        found = {"system": {"comfyui_version": "0.0.test"}, "devices": []}
        if self.path == "/queue":
            found = json.loads(queue.read_text()) if queue.exists() else {"queue_running": [], "queue_pending": []}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *parts):
        pass

try:
    HTTPServer(("127.0.0.1", port), Handler).serve_forever()
except KeyboardInterrupt:
    print("Stopped server")
'''

TORCH = '''
"""A stand-in for PyTorch that says what a test wants it to see."""
__version__ = "0.test"

class _Part:
    def __init__(self, there, name=""):
        self.there, self.name = there, name
    def is_available(self):
        return self.there
    def get_device_name(self, index):
        return self.name
    def mem_get_info(self, index):
        return (6_000_000, 8_000_000)

cuda = _Part({there}, "Test GPU")
xpu = _Part(False)

class backends:
    mps = _Part(False)
'''


def installation(
    folder: Path, *, gpu: bool = False, python: bool = True, simulated: bool = False, mortal: bool = False
) -> Path:
    """A ComfyUI in this folder, whose Python sees a GPU or does not, or that has no Python at all.

    A simulated one is the simulator, and runs workflows; a mortal one can be told to die.
    """
    (folder / "models").mkdir(parents=True)
    (folder / "main.py").write_text(SIMULATED if simulated else MORTAL if mortal else MAIN)
    (folder / "torch.py").write_text(TORCH.replace("{there}", str(gpu)))
    if python:
        program = folder / "venv" / "bin" / "python"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        program.chmod(0o755)
    return folder


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
