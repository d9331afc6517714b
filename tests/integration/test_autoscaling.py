"""cluster.yaml's head under Ray's autoscaler, with machines that Ray pretends to start: no worker is there at first."""

import json
import re
import signal
import tempfile
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from drivers import RayNode
from ports import free_port

pytestmark = pytest.mark.cluster

CLUSTER = yaml.safe_load((Path(__file__).parents[2] / "cluster.yaml").read_text(encoding="utf-8"))
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
HEAD = {"id": "f" * 51 + "00000", "type": "ray.head.default"}  # as Ray's pretended machines want them
OF_THE_TYPE = {"CPU": 4, "GPU": 1}  # what AWS says of the machines


def pretended(address):
    """cluster.yaml with its numbers of machines and its speed, and without all that makes real ones."""
    kept = {name: CLUSTER[name] for name in ("cluster_name", "max_workers", "upscaling_speed", "idle_timeout_minutes")}
    lists = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    machine = {"node_config": {}, "resources": {**OF_THE_TYPE, "object_store_memory": 10**8}}
    types = {name: {**each, **machine} for name, each in CLUSTER["available_node_types"].items()}
    head = types.pop(CLUSTER["head_node_type"])
    return {
        **kept,
        "provider": {
            "type": "external", "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": address, "head_node_id": HEAD["id"], "launch_multiple": True, "disable_node_updaters": True,
        },
        "head_node_type": HEAD["type"],
        "available_node_types": {**types, HEAD["type"]: {**head, "max_workers": 0, "resources": {"CPU": 0}}},
        **{f"{name}_commands": [] for name in lists},
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
        "file_mounts_sync_continuously": False,
    }  # fmt: skip


@pytest.fixture
def head(command, environment):
    """The head, and the log of its autoscaler."""
    with tempfile.TemporaryDirectory(prefix="vt", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder, address = Path(name), f"127.0.0.1:{free_port()}"
        (folder / "cluster.json").write_text(json.dumps(pretended(address)))
        ray = RayNode(folder, str(Path(command).with_name("ray")), {
            **environment, **TOKEN, "RAY_USAGE_STATS_ENABLED": "0", "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_CLOUD_INSTANCE_ID": HEAD["id"], "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD["id"],
        })  # fmt: skip
        ray.start(
            "start", "--head", "--block", f"--port={address[10:]}", "--node-ip-address=127.0.0.1", "--num-cpus=0",
            "--object-store-memory=100000000", "--include-dashboard=false", f"--temp-dir={folder}/ray",
            f"--autoscaling-config={folder}/cluster.json",
        )  # fmt: skip
        ray.wait_for(lambda: "runtime started" in ray.out)
        yield address, folder / "ray" / "session_latest" / "logs" / "monitor.log"
        ray.kill()


def test_machines_for_all_trials_are_asked_for_at_once_and_spot_ones_first(head, new_driver):
    address, log = head
    driver = new_driver(TOKEN)
    options = ("--ray-address", address, "--device", "cpu", "--gpus-per-trial", "1", "--cpus-per-trial", "1")
    sweep = ("sweep", "--name", "s", "--offline", "--space", "lr", "--scheduler", "none", "--epochs", "5000", *options)
    refused = driver.run(*sweep)
    assert refused.returncode == 2
    assert "fits on no node that the cluster at" in refused.stderr
    assert refused.stderr.endswith("set how many lanes there are with --lanes\n")

    driver.start(*sweep, "--lanes", "2", "--members", "1")
    driver.wait_for(lambda: driver.n_lines and sum(trial.epochs > 0 for trial in driver.sweep.trials.values()) == 2)
    added = re.findall(r"^(\S+ \S+)\t.*Adding (\d+) node\(s\) of type (\S+)\.", log.read_text(), re.MULTILINE)
    assert sum(int(n) for _, n, _ in added) == 2
    assert {name for *_, name in added} == {"gpu-spot"}
    asked = [datetime.strptime(time, "%Y-%m-%d %H:%M:%S,%f").timestamp() for time, *_ in added]
    first_report = next(event["t"] for event in driver.events if event["event"] == "report")
    assert max(asked) < first_report, "no trial waits for another to be asked for"
    assert driver.send(signal.SIGTERM).end() == 143, driver.err
