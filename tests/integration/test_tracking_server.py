"""MLflow's server as cluster.yaml sets it up: with a password, on SQLite and on PostgreSQL."""

import base64
import configparser
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from getpass import getuser
from pathlib import Path

import pytest
import yaml
from drivers import PATIENCE, check_projection
from ports import free_port
from postgresql import postgresql_server
from tracking_server import LEAN

from tuner.sweeps.journal import read_journal

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        importlib.util.find_spec("flask_wtf") is None, reason="mlflow's passwords come with the extra `server`"
    ),
]

CLUSTER = (Path(__file__).parents[2] / "cluster.yaml").read_text(encoding="utf-8")
SWEEP = (
    "sweep",
    "--name",
    "s",
    "--space",
    "lr",
    "--trials",
    "2",
    "--epochs",
    "2",
    "--grace",
    "1",
    "--concurrency",
    "2",
)
QUERY = "/api/2.0/mlflow/experiments/search?max_results=1"
SUDO = '#!/bin/sh\nif [ "$1" = -u ]; then shift 2; fi\nexec "$@"\n'


class Head:
    """A folder that stands for a head's disk: home, /etc, /var/lib/mlflow and /shared. `sudo` does as it is told."""

    def __init__(self, root, environment):
        self.root, self.port = root, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        for name in ("bin", "etc/systemd/system", "state", "shared"):
            (root / name).mkdir(parents=True)
        for name, script in {"sudo": SUDO, "apt-get": "#!/bin/sh\n"}.items():
            (root / "bin" / name).write_text(script)
            (root / "bin" / name).chmod(0o755)
        path = f"{root / 'bin'}:{Path(sys.executable).parent}:{environment['PATH']}"
        self.environment = {**environment, **LEAN, "HOME": str(root), "USER": getuser(), "PATH": path}
        self._process = None

    def run(self, command, **variables):
        """A command of cluster.yaml, on this disk."""
        for place, here in {"/etc/": "etc/", "/var/lib/mlflow": "state", "/shared": "shared"}.items():
            command = command.replace(place, f"{self.root}/{here}")
        subprocess.run(
            ["bash", "-c", f"({command})"], env={**self.environment, **variables}, check=True, timeout=PATIENCE
        )

    def set_up(self):
        """What `ray up` runs on a head for MLflow, down to systemd."""
        for command in yaml.safe_load(CLUSTER)["head_setup_commands"]:
            if re.search(r"~/\.mlflow/|mlflow\.service ", command):
                self.run(command)
        return self

    @property
    def unit(self):
        return (self.root / "etc/systemd/system/mlflow.service").read_text().replace("\\\n", "")

    def start(self, backend):
        """What systemd would run, on a port that is free; in its folder and with its variables."""
        words = shlex.split(re.search(r"^ExecStart=\S+/mlflow (.*)", self.unit, re.MULTILINE)[1])
        given = dict(line.split("=", 1) for line in (self.root / "etc/mlflow.env").read_text().split())
        given |= dict(pair.split("=") for pair in re.findall(r"MLFLOW_\w+=\S+", self.unit))
        words = [word.replace("${BACKEND}", backend).replace("5000", str(self.port), 1) for word in words]
        with (self.root / "server.log").open("w") as log:
            self._process = subprocess.Popen(
                [Path(sys.executable).parent / "mlflow", *words],
                cwd=self.root / "state", env={**self.environment, **given},
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._wait()

    def _wait(self):
        end = time.monotonic() + PATIENCE
        while self.status("/health", password=None) != 200:
            log = (self.root / "server.log").read_text()
            assert self._process.poll() is None, log
            assert time.monotonic() < end, log
            time.sleep(0.2)

    def stop(self):
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(PATIENCE)

    @property
    def password(self):
        credentials = configparser.ConfigParser()
        credentials.read(self.root / ".mlflow/credentials")
        return credentials["mlflow"]["mlflow_tracking_password"]

    def status(self, path, password, host=None):
        """The HTTP status of a request by admin with this password, or by nobody."""
        token = base64.b64encode(f"admin:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {token}"} if password else {}
        request = urllib.request.Request(self.uri + path, headers=headers | ({"Host": host} if host else {}))
        try:
            return urllib.request.urlopen(request, timeout=PATIENCE).status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def sweep(self, folder, command, **variables):
        """A sweep on this head, which knows of the server as cluster.yaml says."""
        return subprocess.run(
            [command, *SWEEP, "--set", "data.n_train=300", "--format", "json"],
            cwd=folder, env={**self.environment, "MLFLOW_TRACKING_URI": self.uri, **variables},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def head(tmp_path_factory, environment):
    made = Head(tmp_path_factory.mktemp("head"), environment).set_up()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def recorded(head, tmp_path_factory, command):
    """The folder of a sweep that the head's server has recorded on SQLite, which still runs, and what was printed."""
    folder = tmp_path_factory.mktemp("recorded")
    head.start(re.search(r"^Environment=BACKEND=(\S+)", head.unit, re.MULTILINE)[1])
    done = head.sweep(folder, command)
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture
def postgresql(head):
    """The other BACKEND of cluster.yaml, on a PostgreSQL of our own, set up by the command that is offered there."""
    with postgresql_server() as folder:
        head.run(_offered(CLUSTER), PGHOST=str(folder), PGUSER="postgres")
        uri = re.search(r"^# Environment=BACKEND=(\S+)", head.unit, re.MULTILINE)[1]
        yield uri.replace("/var/run/postgresql", str(folder))
        head.stop()


def _offered(text):
    """The command for PostgreSQL, without its #."""
    block = re.search(r"^  # - \|\n((?:  #   .*\n)+)", text, re.MULTILINE)[1]
    return re.sub(r"^  #   ", "", block, flags=re.MULTILINE)


@pytest.fixture
def admin(head, monkeypatch):
    """This process knows the password."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", head.password)


@pytest.mark.usefixtures("admin")
def test_a_sweep_is_recorded_by_the_server_of_a_head(head, recorded):
    folder, done = recorded
    events = read_journal(folder / "sweeps/s/journal.jsonl")
    check_projection(events, head.uri)
    assert json.loads(done.stdout)["best"]["run_id"]
    assert list((head.root / "shared").rglob("checkpoint.safetensors"))
    assert head.password not in f"{events}{done.stdout}{done.stderr}"


def test_the_server_refuses_who_has_no_password_and_who_was_led_there(head, recorded, tmp_path, monkeypatch, cli):
    assert head.status(QUERY, password=None) == 401
    assert head.status(QUERY, password="guessed") == 401
    assert head.status(QUERY, password=head.password) == 200
    assert head.status(QUERY, password=head.password, host="elsewhere.example:5000") == 403
    monkeypatch.setenv("HOME", str(tmp_path))
    done = cli(tmp_path, *SWEEP, "--tracking-uri", head.uri)
    assert done.code == 2
    assert head.uri in done.err
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.usefixtures("admin")
def test_the_other_database_is_sent_the_same(head, recorded, postgresql, cli):
    """Of what the first has, the second knows nothing."""
    head.stop()
    head.start(postgresql)
    assert cli(recorded[0], "sync", "s", "--tracking-uri", head.uri).code == 0
    check_projection(read_journal(recorded[0] / "sweeps/s/journal.jsonl"), head.uri)


def test_a_second_set_up_keeps_the_passwords_which_only_their_owners_read(head):
    files = [head.root / ".mlflow/credentials", head.root / "etc/mlflow.env"]
    before = [file.read_text() for file in files]
    head.set_up()
    assert [file.read_text() for file in files] == before
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    assert f"MLFLOW_AUTH_ADMIN_PASSWORD={head.password}\n" in before[1]
    assert all(len(line.rpartition("=")[2]) == 48 for line in before[1].split())
