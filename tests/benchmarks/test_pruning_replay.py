"""Pruning by the value of the last complete cycle, replayed on recorded trials."""

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SPACES = sorted(file.stem for file in (HERE / "curves").glob("*.json"))


@pytest.fixture(scope="module")
def replay():
    spec = importlib.util.spec_from_file_location("replay_pruning", HERE / "replay_pruning.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.ORDERS = 100
    return module


@pytest.mark.parametrize("space", SPACES)
def test_pruning_is_never_worse_than_random_search_of_equal_cost(space, replay):
    trials, rules = replay.recorded(space)
    found = replay.replayed(trials, rules["after"], "after")
    assert found.regret <= replay.random_search(trials, found.cost)
    assert found.cost < 0.8


def test_before_it_was_worse_under_cycles(replay):
    trials, rules = replay.recorded("clr")
    found = replay.replayed(trials, rules["before"], "before")
    assert found.regret > replay.random_search(trials, found.cost)
