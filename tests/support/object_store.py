"""An S3 server on this machine, reached over HTTP as any other: https://docs.getmoto.org."""

import re
import subprocess
import sys
import time
import urllib.request

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
PATIENCE = 60.0


class ObjectStore:
    """The server's process, and the requests it has answered."""

    def __init__(self, log):
        self._log = log
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
                stdout=subprocess.DEVNULL, stderr=file,
            )  # fmt: skip
        self._port = self._wait_for_port()

    def _wait_for_port(self):
        end = time.monotonic() + PATIENCE
        while not (found := re.search(r"Running on http://127\.0\.0\.1:(\d+)", self._log.read_text())):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.05)
        return int(found[1])

    def new_bucket(self, name):
        """Make a bucket; returns its URI for pyarrow."""
        address = f"http://127.0.0.1:{self._port}"
        urllib.request.urlopen(urllib.request.Request(f"{address}/{name}", method="PUT"), timeout=PATIENCE).close()
        return f"s3://{name}?endpoint_override=127.0.0.1%3A{self._port}&scheme=http&region=us-east-1"

    @property
    def requests(self):
        """The methods and paths of all requests so far."""
        return re.findall(r'"(?:\x1b\[[\d;]*m)*([A-Z]+ /\S*) HTTP/1', self._log.read_text())

    def close(self):
        self._process.terminate()
        self._process.wait()
