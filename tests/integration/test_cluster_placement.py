"""Real drivers on a cluster of several nodes: fractional GPUs, and trials that must run alone."""

import json
import subprocess
import sys

import pytest
import torch
from drivers import PATIENCE
from ray_cluster import ray_cluster

from trainables.config.paths import parse_config
from trainables.data.dataset import data_facts, load
from trainables.files.checkpoint import write
from trainables.files.trial_files import FILE_NAME
from trainables.resolve import resolve
from trainables.training.trainer import Trainer
from tuner.cluster.ray_address import leave

pytestmark = pytest.mark.cluster

NODE = {"object_store_memory": 10**8}

# Ray counts GPUs that are not there; what a trial was given decides whether its memory is enough.
HUNGRY = """
import json
from pathlib import Path
import ray
import torch
from user_nets import Net

def make(shape, latent_dim, width):
    if ray.get_runtime_context().get_actor_id():
        given = ray.get_runtime_context().get_assigned_resources()
        with (Path(__file__).parent / "given.jsonl").open("a") as file:
            file.write(json.dumps({"width": width, "threads": torch.get_num_threads(), **given}) + "\\n")
        if width == 32 and given["SCARCE"] < ENOUGH:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
    return Net(shape, latent_dim, width)
"""


def spec(**parts):
    widths = {"model.kwargs.width": {"choice": [8, 16, 32]}}
    sweep = {
        "name": "s",
        "config": {"model": {"kind": "hungry:make"}, "epochs": 4, "device": "cpu"},
        "space": widths,
        "search": {"sampler": "grid", "trials": 3},
        "scheduler": {"kind": "none"},
        "tracking": {"offline": True},
    }
    return json.dumps({**sweep, **parts})


@pytest.fixture(scope="module")
def cluster():
    """A head of one core, and a node of two with two GPUs that Ray believes in."""
    with ray_cluster(num_cpus=1, **NODE) as made:
        made.add_node(num_cpus=2, num_gpus=2, **NODE)
        yield made
        leave()


@pytest.fixture
def sweep(driver, cluster, request):
    """sweep(enough of what is scarce, spec) → the driver, which has started a sweep over a model that is hungry."""

    def start(scarce, enough, text):
        nets = (request.config.rootpath / "tests" / "user_nets.py").read_text()
        (driver.folder / "user_nets.py").write_text(nets)
        (driver.folder / "hungry.py").write_text(HUNGRY.replace("SCARCE", scarce).replace("ENOUGH", str(enough)))
        (driver.folder / "sweep.yaml").write_text(text)
        return driver.start("sweep", "sweep.yaml", "--ray-address", cluster.address)

    return start


def given(driver):
    return [json.loads(line) for line in (driver.folder / "given.jsonl").read_text().splitlines()]


def test_trials_share_gpus_wait_all_at_once_and_one_that_runs_out_of_memory_gets_a_whole_one(sweep):
    resources = {"gpus_per_trial": 0.5, "cpus_per_trial": 0.5, "retries": 0}
    driver = sweep("GPU", 1.0, spec(resources=resources))
    assert driver.end() == 0, driver.err
    assert "4 lanes fit on the 2 nodes" in driver.err
    asked, rest = driver.events[1:4], driver.events[4:]
    assert {event["event"] for event in asked} == {"ask"}, "one that waits keeps no other from waiting"
    (failure,) = [event for event in rest if event["event"] == "failure"]
    hungry = driver.sweep.trials[failure["trial"]]
    assert (failure["kind"], hungry.config["model"]["kwargs"]["width"]) == ("memory", 32)
    assert {trial.stop_reason for trial in driver.sweep.trials.values()} == {"completed"}
    assert {(each["width"], each["GPU"]) for each in given(driver)} == {(8, 0.5), (16, 0.5), (32, 0.5), (32, 1.0)}
    assert f"Trial {hungry.id} goes on from its last checkpoint" in driver.err


def test_on_cores_alone_is_a_whole_node_and_threads_stay_those_of_the_share(sweep):
    driver = sweep("CPU", 2.0, spec(resources={"cpus_per_trial": 1, "retries": 0}))
    assert driver.end() == 0, driver.err
    assert "3 lanes fit on the 2 nodes" in driver.err
    assert {trial.stop_reason for trial in driver.sweep.trials.values()} == {"completed"}
    assert {(each["width"], each["CPU"]) for each in given(driver)} == {(8, 1), (16, 1), (32, 1), (32, 2)}
    assert {each["threads"] for each in given(driver)} == {1}
    assert {trial.config["threads"] for trial in driver.sweep.trials.values()} == {1}


JOINING = """
import sys
from pathlib import Path
import ray
from trainables.errors import UserError
from tuner.cluster.capacity import Node, capacity_of, node_here
from tuner.cluster.ray_address import connect, leave
from tuner.running.comparison_stages import Share, measured

address = sys.argv[1]
leave()
assert set(capacity_of(address).nodes) == {Node(1, 0), Node(2, 2)}
job = ray.get_runtime_context().get_job_id()
connect(address)
assert ray.get_runtime_context().get_job_id() == job, "joined once"
try:
    connect("127.0.0.1:9")
except UserError as error:
    assert "no Ray cluster answers at 127.0.0.1:9" in str(error)
assert not ray.is_initialized(), "another address is another cluster"
connect(address)
read = ray.remote(lambda: __import__("os").environ["MLFLOW_TRACKING_PASSWORD"])
assert ray.get(read.remote()) == ""
assert ray.get(ray.remote(num_gpus=1)(node_here).remote()) == Node(2, 2)

def own_gpus(trainer):
    return {"n": len(ray.get_gpu_ids())}

model, data = map(Path, sys.argv[2:])
for share, n in ((Share(1, 0.5), 1), (Share(1, 0), 0)):
    assert measured(own_gpus, f"{n}.json", [model], data, share, lambda: None) == {model: {"n": n}}

connect(None)
assert not ray.is_initialized(), "this machine is no part of it"
ray.init(address=address, log_to_driver=False, logging_level="ERROR")
connect(None)
connect(address)
leave()
assert ray.is_initialized(), "what the caller has joined stays"
"""


@pytest.fixture
def model(tmp_path, vae_data_root):
    """The folder of a model that is not trained."""
    config = parse_config({"data": {"name": "digits", "n_train": 50}, "model": {"hidden": [4]}, "epochs": 1})
    config = resolve(config, data_facts(config.data, vae_data_root))
    write(tmp_path / FILE_NAME, Trainer(config, load(config.data, vae_data_root, torch.device("cpu"))).checkpoint())
    return tmp_path


def test_a_cluster_is_joined_once_and_left_and_a_task_on_it_has_the_share_of_a_gpu_that_its_trial_had(
    cluster, environment, model, vae_data_root
):
    done = subprocess.run(
        [sys.executable, "-c", JOINING, cluster.address, model, vae_data_root],
        env={**environment, "MLFLOW_TRACKING_PASSWORD": "secret"},
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "results alone belong there"


def test_auto_on_gpus_that_are_not_there_asks_for_a_number(cli, tmp_path, cluster):
    options = ("sweep", "--ray-address", cluster.address, "--plan", "--gpus-per-trial")
    done = cli(tmp_path, *options, "auto")
    assert done.code == 2
    assert "resources.gpus_per_trial: auto could not be measured: " in done.err
    assert done.err.rstrip().endswith("give a number, such as 0.5")
    shown = json.loads(cli(tmp_path, *options, "0.5", "--format", "json").out)
    assert (shown["concurrency"], shown["seconds_per_epoch"]) == (2, None)
