#!/usr/bin/env bash
# Ray Tune leaves its own handler of SIGINT behind: the first Ctrl-C after a finished search does nothing.
#
# Versions: ray 2.60.0, Python 3.11.
# Behaviour: while `Tuner.fit` runs, Tune sets a handler of SIGINT that asks its loop to end and puts the former handler
#   back when it is called. It does not put it back when the search ends by itself. In a notebook or a script that goes on,
#   the next Ctrl-C only calls that handler; the second raises KeyboardInterrupt.
# Output seen:
#   the handler is the one from before the search: False
#   the first SIGINT after it interrupts: False
#   the second interrupts: True
# Exits with 1 where that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'ray[tune]==2.60.0' 2>/dev/null
cat >"$folder/after_a_search.py" <<'PYTHON'
import logging
import os
import signal
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray import tune


def train(config):
    tune.report({"score": 1.0})


def interrupts():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        return True
    return False


logging.disable(logging.CRITICAL)
signal.signal(signal.SIGINT, signal.default_int_handler)
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
tune.Tuner(train, run_config=tune.RunConfig(storage_path=sys.argv[1], verbose=0)).fit()
kept = signal.getsignal(signal.SIGINT) is signal.default_int_handler
found = kept, interrupts(), interrupts()
print(f"the handler is the one from before the search: {found[0]}")
print(f"the first SIGINT after it interrupts: {found[1]}")
print(f"the second interrupts: {found[2]}")
ray.shutdown()
sys.exit(found != (False, False, True))
PYTHON
"$folder/venv/bin/python" "$folder/after_a_search.py" "$folder/results" 2>/dev/null
