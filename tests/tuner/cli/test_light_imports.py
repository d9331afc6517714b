"""A verb that trains nothing starts fast: it imports neither torch nor the comparison."""

import json
import shutil
import subprocess
import sys

VERBS = [
    ("--help",),
    ("spaces",),
    ("init", "new.yaml"),
    ("status",),
    ("sync", "s"),
    ("best", "--sweep", "s", "--include-pruned"),
    ("jobs", "list", "--cluster", "local"),
    ("export", "s", "--optuna", "s.db"),
    ("export", "s", "s.zip"),
]
"""In one process, one after the other: `export` last, since the page that it packs draws with matplotlib."""

RUN = """
import json, sys
from tuner.cli import run

heavy = {"torch", "ray", "sklearn", "torchvision", "tuner.comparison.design", "tuner.comparison.statistics"}
for words in json.loads(sys.argv[1]):
    sys.argv = ["vae-tuner", *words]
    code = run()
    print("told", json.dumps([words, code, sorted(heavy & sys.modules.keys())]))
"""


def test_a_verb_that_trains_nothing_imports_neither_torch_nor_the_comparison(sweeps, migrated_database, environment):
    sweeps.run("s")
    folder = sweeps.storage.parent
    shutil.copy(migrated_database, folder / "mlflow.db")
    found = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(VERBS)], env=environment, cwd=folder, capture_output=True, text=True
    )
    told = [json.loads(line.removeprefix("told ")) for line in found.stdout.splitlines() if line.startswith("told ")]
    assert told == [[[*words], 0, []] for words in VERBS], found.stderr
