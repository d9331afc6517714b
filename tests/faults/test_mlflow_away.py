"""A tracking server that is slow, broken, stopped or not there yet: training goes on, and MLflow gets it all, once."""

import shutil
import signal
import threading
import urllib.error
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from drivers import runs_of
from tracking_server import TrackingServer

from tuner.tracking.mlflow_store import Tag

pytestmark = pytest.mark.faults


class Proxy(ThreadingHTTPServer):
    """Hands requests on; `mode` is pass, slow (no answer until it changes) or broken (500)."""

    daemon_threads = True

    def __init__(self, target):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.mode, self.seen = target, "pass", Counter()
        self.uri = f"http://127.0.0.1:{self.server_port}"
        self._changed = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def turn(self, mode):
        self.mode, changed, self._changed = mode, self._changed, threading.Event()
        changed.set()

    def linger(self):
        self._changed.wait(90)

    def handle_error(self, request, client_address):
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    def _forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen[self.server.mode] += 1
        if self.server.mode == "slow":
            self.server.linger()
        if self.server.mode == "broken":
            self._answer(500, {}, b"broken")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        request = urllib.request.Request(self.server.target + self.path, body or None, headers, method=self.command)
        try:
            with urllib.request.urlopen(request) as answer:
                self._answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            self._answer(error.code, error.headers, error.read())
        except OSError:
            self._answer(502, {}, b"nobody there")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _forward  # noqa: N815

    def _answer(self, status, headers, body):
        self.send_response(status)
        if "Content-Type" in headers:
            self.send_header("Content-Type", headers["Content-Type"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Nothing is printed."""


@pytest.fixture(scope="module")
def server(tmp_path_factory, environment, migrated_database):
    with TrackingServer(tmp_path_factory.mktemp("server"), environment, migrated_database) as started:
        yield started


@pytest.fixture
def proxy(server):
    made = Proxy(server.wait().uri)
    yield made
    made.shutdown()
    made.server_close()


def synced(store):
    """How many lines of the journal MLflow has."""
    mark = runs_of(store)[""].data.tags[Tag.SYNCED]
    return int(mark.split()[0]) + 1


def test_training_goes_on_while_the_server_is_slow_broken_or_stopped(driver, server, proxy, projected, tally, cli):
    """A slow server answers nothing until its phase is over: an epoch that waited for it would never end."""
    endless = ("--trials", "50", "--epochs", "400", "--space", "lr", "--scheduler", "none", "--concurrency", "1")
    driver.start("sweep", "--name", "s", *endless, "--tracking-uri", proxy.uri).wait_for_lines(20)
    for mode in ("slow", "broken", "stopped"):
        if mode == "stopped":
            server.stop()
        proxy.turn(mode)
        driver.wait_for(lambda mode=mode: proxy.seen[mode])
        lines = driver.n_lines
        driver.wait_for(lambda lines=lines: driver.n_lines > lines + 40)
    server.start().wait()
    proxy.turn("pass")
    lines = driver.n_lines
    driver.wait_for(lambda: synced(server.store) >= lines)
    assert driver.send(signal.SIGINT).end() == 130, driver.err
    assert "Stopped by SIGINT" in driver.err
    assert "Traceback" not in driver.err
    assert cli(driver.folder, "sync", "s", "--tracking-uri", server.uri).code == 0
    tally.add("MLflow slow, answering 500, stopped", 3, driver, server.uri)
    projected(driver.events, server.uri, server.store)


def test_a_server_that_is_down_at_the_start_is_named_and_sent_everything_later(
    cli, tmp_path, undisturbed, start, server, proxy, projected
):
    nowhere = "http://127.0.0.1:9"
    refused = cli(tmp_path, *start, "--tracking-uri", nowhere)
    assert refused.code == 2
    assert nowhere in refused.err
    assert "--offline" in refused.err
    assert not (tmp_path / "sweeps").exists()

    shutil.copytree(undisturbed.folder / "sweeps", tmp_path / "sweeps")
    assert "vae-tuner sync s" in undisturbed.err
    proxy.turn("broken")
    failed = cli(tmp_path, "sync", "s", "--tracking-uri", proxy.uri)
    assert failed.code == 2
    assert proxy.uri in failed.err
    assert "Traceback" not in failed.err
    proxy.turn("pass")
    assert cli(tmp_path, "sync", "s", "--tracking-uri", proxy.uri).out == f"Sent {undisturbed.n_lines} records of s.\n"
    assert cli(tmp_path, "sync", "s", "--tracking-uri", proxy.uri).out == "MLflow had all of s.\n"
    projected(undisturbed.events, server.uri, server.store)
