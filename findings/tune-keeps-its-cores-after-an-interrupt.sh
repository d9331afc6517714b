#!/usr/bin/env bash
# Ray Tune gives its cores back after an error in its loop, and keeps them after an interrupt.
#
# Versions: ray 2.60.0, Python 3.11.
# Behaviour: a notebook has started Ray and runs a search on it. Where a callback, or a signal's handler, raises
#   KeyboardInterrupt in the loop of `Tuner.fit` and the notebook catches it, the trial's worker goes on and its placement
#   group stays reserved until Ray ends. After any ordinary exception in its place the cores are free within seconds.
# Output seen:
#   caught RuntimeError
#   free after RuntimeError: 2.0 of 2.0 cores
#   caught KeyboardInterrupt
#   free after KeyboardInterrupt: 1.0 of 2.0 cores
# Exits with 1 where that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'ray[tune]==2.60.0' 2>/dev/null
cat >"$folder/interrupted.py" <<'PYTHON'
import logging
import os
import sys
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"

import ray
from ray import tune


class Trial(tune.Trainable):
    def step(self):
        time.sleep(0.1)
        return {"score": 1.0}


class Raises(tune.Callback):
    def __init__(self, error):
        self.error = error

    def on_step_begin(self, iteration, trials, **info):
        if any(trial.last_result for trial in trials):
            raise self.error


def free_after(error, folder):
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        tune.Tuner(
            Trial,
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[Raises(error)]),
        ).fit()
    except BaseException as raised:
        print(f"caught {type(raised).__name__}")
    deadline, free = time.monotonic() + 20, 0.0
    while time.monotonic() < deadline and free < 2:
        time.sleep(0.5)
        free = ray.available_resources().get("CPU", 0.0)
    print(f"free after {type(error).__name__}: {free} of 2.0 cores")
    ray.shutdown()
    return free


logging.disable(logging.CRITICAL)
found = free_after(RuntimeError(), sys.argv[1]), free_after(KeyboardInterrupt(), sys.argv[1])
sys.exit(found != (2.0, 1.0))
PYTHON
"$folder/venv/bin/python" "$folder/interrupted.py" "$folder/results" 2>/dev/null
