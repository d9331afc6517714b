#!/usr/bin/env bash
# MLflow: each request to a tracking server looks anew for Databricks, with imports that fail.
#
# Versions: mlflow 3.17.2, Python 3.11.
# Behaviour: before each request the client asks whether it is in a notebook, a job or a cluster of Databricks. Elsewhere
#   the answer takes imports of IPython, pyspark and dbruntime, which are not there; Python does not remember that a module
#   is missing, so that each looks through all of sys.path again. It is a third of the processor time of a request, and more
#   where sys.path is longer. In a process that is not on Databricks the answer never changes.
# Output seen (the times differ):
#   imports that failed in one request: {'dbruntime': 5, 'pyspark': 2, 'IPython': 4}
#   ms of a processor, a request: 3.7 as it is, 2.3 where the answer is remembered
# Exits with 1 where that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'mlflow-skinny==3.17.2'
cat >"$folder/asking.py" <<'PYTHON'
import os
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from mlflow.tracking.request_header.databricks_request_header_provider import DatabricksRequestHeaderProvider


class Server(BaseHTTPRequestHandler):
    """Takes whatever comes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


class Spy:
    """Is asked for each module that is not loaded."""

    def __init__(self):
        self.asked = Counter()

    def find_spec(self, name, path=None, target=None):
        self.asked[name] += 1


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = MlflowClient(f"http://127.0.0.1:{server.server_port}")


def request():
    client.log_batch("0" * 32, metrics=[Metric("loss", 1.0, 0, 0)])


def cost():
    started = time.thread_time()
    for _ in range(200):
        request()
    return (time.thread_time() - started) / 200 * 1e3


request()
spy = Spy()
sys.meta_path.insert(0, spy)
request()
sys.meta_path.remove(spy)
print("imports that failed in one request:", dict(spy.asked))
as_it_is = cost()
DatabricksRequestHeaderProvider.in_context = lambda self: False
remembered = cost()
print(f"ms of a processor, a request: {as_it_is:.1f} as it is, {remembered:.1f} where the answer is remembered")
sys.exit(not spy.asked or as_it_is < 1.2 * remembered)
PYTHON
"$folder/venv/bin/python" "$folder/asking.py"
