"""A real `mlflow server` on this machine, which can be stopped and started again."""

import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from drivers import PATIENCE
from ports import free_port

MLFLOW = Path(sys.executable).with_name("mlflow")
LEAN = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # its dozen processes more are for MLflow's own evaluations


class TrackingServer:
    """Its folder, with its store as a copy of a migrated database; it runs within `with`."""

    def __init__(self, folder, environment, migrated_database, files=()):
        """files: the options that say where the files of runs lie; by default the server keeps them."""
        self.folder, self._environment, self._port = folder, {**environment, **LEAN}, free_port()
        self.uri, self.store = f"http://127.0.0.1:{self._port}", f"sqlite:///{folder}/store.db"
        self._files = files or ["--artifacts-destination", str(folder / "artifacts")]
        shutil.copy(migrated_database, folder / "store.db")
        self._process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        arguments = ["server", "--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"]
        arguments += ["--backend-store-uri", self.store, *self._files]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [MLFLOW, *arguments],
                cwd=self.folder, env=self._environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        return self

    def wait(self):
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.2)
        return self

    @property
    def _log(self):
        return self.folder / "server.log"

    def _answers(self):
        try:
            return urllib.request.urlopen(f"{self.uri}/health", timeout=2).status == 200
        except OSError:
            return False

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)
