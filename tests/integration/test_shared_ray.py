"""Sweeps of one process, in threads as a service has them, share the Ray that the first one starts."""

import json
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.cluster

SERVICE = """
import json
import os
import signal
import threading

import ray
import tuner
from ray._private import worker
from ray._raylet import AuthenticationMode, get_authentication_mode
from trainables.errors import UserError


def spec(name, epochs, **resources):
    return {
        "name": name, "config": {"epochs": epochs, "beta": {"kind": "constant"}}, "space": "lr",
        "search": {"trials": 1, "sampler": "random"}, "scheduler": {"kind": "none"}, "tracking": {"offline": True},
        "resources": {"concurrency": 1, **resources},
    }


def sweep(*given, **resources):
    try:
        came[given[0]] = tuner.sweep(spec(*given, **resources)).stop_reasons
    except UserError as error:
        came[given[0]] = str(error)


def settings():
    return {name for name in os.environ if name.startswith(("RAY_", "TUNE_"))}


def connect(*given, **options):
    connected(*given, **options)
    os.kill(os.getpid(), signal.SIGTERM)  # native code has taken by now what signals it takes


came, heard, before = {}, [], settings()
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
connected, worker.connect = worker.connect, connect
threads = [threading.Thread(target=sweep, args=given) for given in (("short", 1), ("long", 200))]
for thread in threads:
    thread.start()
threads[0].join()
shared = ray.is_initialized() and threads[1].is_alive()
sweep("elsewhere", 1, ray_address="127.0.0.1:9")
threads[1].join()
os.kill(os.getpid(), signal.SIGTERM)
asks = get_authentication_mode() == AuthenticationMode.TOKEN
left = sorted(settings() - before) + ["Ray"] * ray.is_initialized()
print(json.dumps({**came, "shared": shared, "left": left, "heard": heard, "asks": asks}))
"""


def test_the_second_shares_what_the_first_has_started_until_the_last_has_ended(tmp_path, environment):
    """Begun at the same moment; the one that started Ray, or not, ends first. The service hears its signals as Ray
    starts and after Ray has ended."""
    done = subprocess.run(
        [sys.executable, "-c", SERVICE],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    came = json.loads(done.stdout)
    assert came.pop("elsewhere").startswith(
        "resources.ray_address: another sweep of this process runs on the Ray of this machine, and a process can use"
    )
    whole = {"completed": 1}
    assert not came.pop("asks"), "a cluster that asks for no token would start no trial of this process"
    assert came == {"short": whole, "long": whole, "shared": True, "left": [], "heard": [signal.SIGTERM] * 2}
