import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import trainables

MODULES = [module.name for module in pkgutil.walk_packages(trainables.__path__, "trainables.")]


def loaded_by(program, *arguments):
    """The top-level modules that are loaded after a program ran in a fresh interpreter."""
    code = f"{program}\nimport json, sys\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_nothing_but_the_tune_trainable_imports_ray_and_nothing_optuna_or_mlflow():
    modules = sorted(set(MODULES) - {"trainables.worker.ray_tune"})
    assert not loaded_by(f"import {', '.join(modules)}") & {"ray", "optuna", "mlflow", "search_spaces", "tuner"}


TRIAL = """
import sys, torch
from pathlib import Path
from trainables.config.paths import parse_config
from trainables.data.dataset import data_facts, load
from trainables.resolve import resolve
from trainables.training.trainer import Trainer
config = parse_config({"epochs": 1, "threads": 1})
config = resolve(config, data_facts(config.data, Path(sys.argv[1])))
Trainer(config, load(config.data, Path(sys.argv[1]), torch.device("cpu"))).train_epoch()
"""


def test_a_trial_on_prepared_data_imports_neither_torchvision_nor_sklearn(vae_data_root):
    loaded_by(TRIAL, str(vae_data_root))
    assert not loaded_by(TRIAL, str(vae_data_root)) & {"torchvision", "sklearn"}


@pytest.mark.parametrize("name", MODULES)
def test_all_public_names_exist(name):
    module = importlib.import_module(name)
    assert all(hasattr(module, public) for public in getattr(module, "__all__", ()))
