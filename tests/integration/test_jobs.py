"""Sweeps as jobs, of a real Ray head over HTTP with a token and of this machine: one contract for both."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
import tiny_net
import yaml
from drivers import PATIENCE, RayNode
from ports import free_port

from tuner.sweeps.journal import read_journal
from tuner.sweeps.state import fold

pytestmark = pytest.mark.cluster

TOKEN = "a-token-of-thirty-two-characters"


@dataclass
class Site:
    """Where jobs run: what `--cluster` says, and the environment and folder of who submits."""

    cluster: str
    environment: dict
    folder: Path
    command: str

    @property
    def storage(self):
        return self.folder / "shared" / "sweeps"

    def start(self, *arguments, command=None, **variables):
        return subprocess.Popen(
            [command or self.command, *map(str, arguments), "--cluster", self.cluster],
            cwd=self.folder, env={**self.environment, **variables},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments, code=0, **variables):
        """A command that ends with this exit code; what it printed, results and the rest."""
        with self.start(*arguments, **variables) as process:
            out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, err
        assert "Traceback" not in err
        return out, err

    def write(self, name, spec):
        (self.folder / name).write_text(yaml.safe_dump({"storage": str(self.storage), **spec}))
        return name

    def sweep(self, name):
        journal = self.storage / name / "journal.jsonl"
        return fold(read_journal(journal)) if journal.exists() else None

    def wait_for_epochs(self, name, n):
        end = time.monotonic() + PATIENCE
        while (sweep := self.sweep(name)) is None or sweep.epochs < n:
            assert time.monotonic() < end, self.run("jobs", "logs", name)[0]
            time.sleep(0.1)

    def status(self, job):
        return json.loads(self.run("jobs", "status", job, "--format", "json")[0])

    def state(self, job):
        return self.status(job)["state"]


def answers(port):
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def head(command, environment):
    """A Ray head that asks for a token, and the URL of its dashboard."""
    folder = Path(tempfile.mkdtemp(prefix="vt", dir="/tmp"))  # Ray's sockets have short names
    port = free_port()
    ray = RayNode(folder, str(Path(command).with_name("ray")), {
        **environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{Path(command).parent}{os.pathsep}{environment['PATH']}",
    })  # fmt: skip
    options = {
        "port": free_port(), "node-ip-address": "127.0.0.1", "dashboard-host": "127.0.0.1", "dashboard-port": port,
        "dashboard-agent-listen-port": 0, "ray-client-server-port": free_port(), "temp-dir": folder, "num-cpus": 2,
        "object-store-memory": 10**8,
    }  # fmt: skip
    ray.start("start", "--head", "--block", *(f"--{name}={value}" for name, value in options.items()))
    ray.wait_for(lambda: answers(port))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(ray.close)
        yield ray, f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def local(tmp_path_factory, command, environment, migrated_database):
    folder = tmp_path_factory.mktemp("local")
    shutil.copy(migrated_database, folder)
    return Site("local", {**environment, "XDG_STATE_HOME": str(folder / "state")}, folder, command)


@pytest.fixture(scope="module")
def remote(tmp_path_factory, command, environment, migrated_database, head):
    variables = {**environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    made = Site(head[1], variables, tmp_path_factory.mktemp("remote"), command)
    made.storage.mkdir(parents=True)
    shutil.copy(migrated_database, made.storage)
    return made


@pytest.fixture(scope="module", params=["remote", "local"])
def site(request):
    return request.getfixturevalue(request.param)


# --- the contract -----------------------------------------------------------------------------------------------------

NETS = """
import time
from pathlib import Path
from urllib.request import Request, urlopen

from blocks import Net


def make(shape, latent_dim, folder):
    net, left = Net(shape, latent_dim), [40]
    encode = net.encode

    def held(x):
        left[0] -= 1
        while left[0] < 0 and not Path(folder, "go").exists():
            time.sleep(0.05)
        return encode(x)

    net.encode = held
    return net
"""
BLOCKS = Path(tiny_net.__file__).read_text()
EPOCHS = 25


def held(site, name):
    """A sweep over a user's own model and arrays, which trains a few epochs, then waits for a file `go`."""
    (site.folder / "go").unlink(missing_ok=True)
    (site.folder / "nets.py").write_text(NETS)
    (site.folder / "blocks.py").write_text(BLOCKS)
    np.save(site.folder / "own.npy", np.random.default_rng(0).random((600, 6, 6), dtype=np.float32))
    model = {"kind": "nets:make", "kwargs": {"folder": str(site.folder)}}
    return site.write(f"{name}.yaml", {
        "name": name,
        "config": {"data": {"name": "own.npy"}, "model": model, "epochs": EPOCHS, "batch_size": 200},
        "space": "lr",
        "search": {"trials": 2},
        "scheduler": {"kind": "none"},
        "resources": {"concurrency": 1},
    })  # fmt: skip


def plain(text):
    """The command as it is called where it is on PATH."""
    return text.replace(os.path.relpath(Path(sys.executable).with_name("vae-tuner")), "vae-tuner")


@dataclass
class Story:
    """What was printed when a job was submitted, followed, let alone by Ctrl-C, stopped and resumed to its end."""

    left: str
    refused: str
    stopped: str
    finished: str
    epochs_before: int
    result: dict
    followed: str


@pytest.fixture(scope="module")
def story(site):
    following = site.start("submit", held(site, "own"), "--follow")
    site.wait_for_epochs("own", 2)
    following.send_signal(signal.SIGINT)
    left = following.communicate(timeout=PATIENCE)[1]
    assert following.returncode == 130
    refused = site.run("jobs", "resume", "own", code=2)[1]
    stopped = site.run("jobs", "stop", "own")[0]
    before = site.sweep("own")

    (site.folder / "go").touch()
    if site.cluster != "local":  # the data are in its storage
        (site.folder / "own.npy").unlink()
    options = ("--model", "nets:make", "--follow", "--format", "json")
    out, err = site.run("jobs", "resume", "own", *options)
    return Story(plain(left), refused, plain(stopped), before.finished, before.epochs, json.loads(out), err)


def test_ctrl_c_leaves_a_followed_job_alone(story, site):
    again = f"vae-tuner jobs status own --cluster {site.cluster} --follow"
    assert f"The job goes on. Follow it again with: {again}; stop it with: " in story.left
    assert "sweep own runs in job own; stop that first" in story.refused


def test_a_stop_is_orderly_and_names_the_way_on(story, site):
    assert story.finished == "interrupted"
    way_on = f"vae-tuner jobs resume own --cluster {site.cluster} --storage {site.storage} --model nets:make"
    assert story.stopped == f"Job own: stopped\nGo on with: {way_on}\n"
    assert plain(site.run("jobs", "stop", "own")[0]) == story.stopped


def test_a_resumed_sweep_ends_as_a_whole_with_the_code_and_data_it_began_with(story, site):
    sweep = site.sweep("own")
    assert 2 <= story.epochs_before < sweep.epochs == story.result["epochs"] == 2 * EPOCHS
    for trial in sweep.trials.values():
        assert [report.epoch for report in trial.reports] == list(range(1, EPOCHS + 1))
    assert story.result["stop_reasons"] == {"completed": 2}


def test_status_and_logs_tell_what_the_journal_tells(story, site):
    status = json.loads(site.run("jobs", "status", "own-2", "--format", "json")[0])
    told, best = status["progress"], story.result["best"]
    assert (status["state"], status["storage"]) == ("succeeded", str(site.storage))
    assert (told["planned"], told["stop_reasons"], told["epochs"]) == (2, {"completed": 2}, 2 * EPOCHS)
    assert (told["best_trial"], told["best_value"]) == (best["trial"], best["metrics"][told["metric"]])
    assert told["epochs_per_second"] > 0
    assert re.search(r"^\d of 2 trials: ", story.followed, re.MULTILINE)
    assert json.loads(site.run("jobs", "status", "own-2", "--follow", "--format", "json")[0]) == story.result
    log = site.run("jobs", "logs", "own-2")[0]
    assert "vae-tuner-status" not in log
    assert json.loads(log[log.index("\n{\n") :]) == story.result


def test_what_cannot_run_fails_with_its_reason(story, site):
    spec = site.write("bad.yaml", {"config": {"data": {"name": "/nowhere/faces.npz"}}})
    _, err = site.run("submit", spec, "--name", "bad", "--follow", code=1)
    assert "Error: data.name: /nowhere/faces.npz does not exist" in err
    assert "Go on with" not in err
    listed = json.loads(site.run("jobs", "list", "--format", "json")[0])
    assert [(job["id"], job["sweep"], job["state"]) for job in listed] == [
        ("own", "own", "stopped"), ("own-2", "own", "succeeded"), ("bad", "bad", "failed"),
    ]  # fmt: skip
    assert "Error: no job 'none'" in site.run("jobs", "status", "none", code=2)[1]


# --- of one backend ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variables", [{"RAY_AUTH_TOKEN": "another-token-of-32-characters.."}, {"RAY_AUTH_MODE": "disabled"}]
)
def test_a_token_that_is_refused_is_one_sentence(variables, remote):
    _, err = remote.run("jobs", "list", code=2, **variables)
    assert err.count("\n") == 1
    assert err.startswith(f"Error: {remote.cluster} refused the token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN")


FOLLOW = """
import sys
from tuner.cli.job_tables import show_followed
from tuner.cluster.follow_job import follow
from tuner.cluster.job import known_job

job = known_job("lost", sys.argv[-1])
sys.exit(show_followed(job, follow(job, lambda status: None, retries=1, retry_seconds=0.1), "table"))
"""


def test_rays_dashboard_shows_no_secret_and_a_lost_head_leaves_the_command_that_goes_on(remote, head):
    remote.run("submit", held(remote, "lost"))
    check_what_is_shown(remote, "lost")
    following = remote.start("-c", FOLLOW, command=sys.executable)
    remote.wait_for_epochs("lost", 2)
    head[0].kill()
    _, err = following.communicate(timeout=PATIENCE)
    assert following.returncode == 1, err
    assert err.startswith(f"Lost job lost: no Ray dashboard answers at {remote.cluster}")
    way_on = f"vae-tuner jobs resume lost --cluster {remote.cluster} --storage {remote.storage} --model nets:make"
    assert plain(err).endswith(f"Go on with: {way_on}\n")
    assert remote.sweep("lost").resumable


def check_what_is_shown(site, name):
    """Of a job, to whoever may look at Ray's dashboard."""
    token = {"Authorization": f"Bearer {TOKEN}"}
    with urlopen(Request(f"{site.cluster}/api/jobs/{name}", headers=token), timeout=PATIENCE) as answer:
        job = json.load(answer)
    assert set(job["runtime_env"]) - {"_ray_commit"} == {"working_dir", "env_vars"}
    assert job["runtime_env"]["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "60", "VAE_TUNER_STATUS_LINES": "1"}
    assert job["metadata"] == {
        "vae_tuner.sweep": name, "vae_tuner.storage": str(site.storage), "vae_tuner.factories": "nets:make",
    }  # fmt: skip
    assert TOKEN not in json.dumps(job)
