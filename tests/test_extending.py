"""The page on how to add a part is true: its blocks, applied to a copy of the packages, give parts that work."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
NEW_FILE = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EDIT = re.compile(r"^```diff\n--- (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

TRIALS = {
    "model": {"model": {"kind": "skip", "latent_dim": 3, "hidden": 8}},
    "objective": {"objective": {"kind": "capacity", "nats": 5.0}},
    "likelihood": {"data": {"likelihood": "laplace"}},
    "reader": {"data": {"name": "digits.csv"}},
    "schedule": {"beta": {"kind": "root", "warmup": 0.5}},
    "optimiser": {"optimizer": {"kind": "lion"}},
}

TRAIN = """
import json, sys
from pathlib import Path
import numpy as np, optuna, torch
from sklearn.datasets import load_digits
from search_spaces.catalogue import space_named
from search_spaces.compile import suggest_trial
from search_spaces.space import assemble
from trainables.config import method_of
from trainables.config.paths import parse_config
from trainables.data.dataset import data_facts, load
from trainables.resolve import resolve
from trainables.training.trainer import Trainer
from trainables.files import checkpoint
from trainables.vae import Vae
from tuner.search.samplers import Sampling, new_sampler
from tuner.sweeps.spec import parse_spec

np.savetxt("digits.csv", load_digits().data[:60] / 16, delimiter=",")
found, root = {}, Path("data")
for name, tree in json.loads(sys.argv[1]).items():
    data = {"n_train": 40, **tree.pop("data", {})}
    config = parse_config({"data": data, "epochs": 2, "batch_size": 10, "threads": 1, "device": "cpu", **tree})
    config = resolve(config, data_facts(config.data, root))
    trainer = Trainer(config, load(config.data, root, torch.device("cpu")))
    reports = [trainer.train_epoch() for _ in range(2)]
    checkpoint.write(Path("checkpoint"), trainer.checkpoint())
    sample = Vae.from_file("checkpoint").sample(3, seed=0)
    losses = [report.metrics["train/loss"] for report in reports]
    found[name] = [method_of(config), reports[-1].outcome, losses, list(sample.shape)]
spec = parse_spec({"search": {"sampler": "gp"}})
space, sampling = space_named("linear"), Sampling(spec.search.sampler, 0, 4, False, {})
study = optuna.create_study(direction="maximize")
for number in range(4):
    study.sampler = new_sampler(sampling, space, number)
    asked = study.ask()
    parse_config(assemble({}, space, suggest_trial(asked, space)))
    study.tell(asked, float(number))
found["sampler"] = [trial.params for trial in study.trials]
print(json.dumps(found))
"""


def edited(text, edit):
    """A text with an edit made, whose lines before it stand there once."""
    lines = edit.splitlines()
    old = "\n".join(line[1:] for line in lines if not line.startswith("+"))
    new = "\n".join(line[1:] for line in lines if not line.startswith("-"))
    assert text.count(f"\n{old}\n") == 1, f"not there once: {old}"
    return text.replace(f"\n{old}\n", f"\n{new}\n")


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the packages with all that the page adds."""
    root = tmp_path_factory.mktemp("extended")
    for package in ("trainables", "search_spaces", "tuner"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in NEW_FILE.findall(PAGE):
        assert not (root / path).exists()
        (root / path).write_text(text, encoding="utf-8")
    for path, edit in EDIT.findall(PAGE):
        file = root / path
        file.write_text(edited(file.read_text(encoding="utf-8"), edit), encoding="utf-8")
    return root


def test_one_of_each_trains_or_searches(extended):
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, json.dumps(TRIALS)], cwd=extended, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    asked = found.pop("sampler")
    assert len({json.dumps(params) for params in asked}) == 4
    assert found.keys() == TRIALS.keys()
    assert [found[name][0] for name in ("objective", "schedule")] == ["capacity", "root"]
    for _, outcome, losses, shape in found.values():
        assert outcome in ("ok", "worse-than-mean")
        assert losses[1] < losses[0]
        assert shape in ([3, 8, 8], [3, 64])


def test_what_it_adds_passes_the_checks_of_the_house(extended):
    paths = sorted({path for path, _ in (*NEW_FILE.findall(PAGE), *EDIT.findall(PAGE))})
    config = ["--config", str(ROOT / "pyproject.toml")]
    for check in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [Path(sys.executable).parent / "ruff", *check, *config, *paths],
            cwd=extended,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_block_of_the_page_is_applied():
    assert len(NEW_FILE.findall(PAGE)) + len(EDIT.findall(PAGE)) == PAGE.count("```") / 2
    assert len(EDIT.findall(PAGE)) > 10
