"""Workers that die: their trials go on from their checkpoints, up to a limit that no resume forgives."""

import pytest
import torch

from trainables.config.paths import parse_config
from trainables.data.dataset import load
from trainables.training.trainer import Trainer

pytestmark = pytest.mark.faults

EPOCHS = 100
PACED = """
import time
from pathlib import Path
from {nets} import Net

class Paced(Net):
    left = 30

    def encode(self, x):
        Paced.left -= 1
        while Paced.left < 0 and not Path(__file__).with_name("go").exists():
            time.sleep(0.05)
        return super().encode(x)
"""
SPEC = """
name: s
space: linear
config: {{model: {{kind: "paced:Paced"}}, data: {{n_train: 200}}, batch_size: 100, epochs: {epochs}}}
search: {{sampler: random, trials: {trials}}}
scheduler: {{kind: none}}
resources: {{concurrency: 2, retries: {retries}}}
"""


@pytest.mark.parametrize(
    ("kills", "retries", "trials"), [(6, 1, 4), pytest.param(20, 4, 6, marks=pytest.mark.bench)]
)  # fmt: skip
def test_worker_kills(kills, retries, trials, driver, uri, projected, vae_data_root, tally, nets, cli):
    """A process trains a few epochs, then waits for its kill: no trial ends before that, on a machine of any speed."""
    (driver.folder / "paced.py").write_text(PACED.format(nets=nets))
    (driver.folder / "sweep.yaml").write_text(SPEC.format(epochs=EPOCHS, trials=trials, retries=retries))
    driver.start("sweep", "sweep.yaml").wait_for_lines(1)
    _others_are_refused(driver, cli)
    _kill_workers(driver, 2)
    driver.kill().start("resume", "s", "--model", "paced:Paced")
    _kill_workers(driver, kills // 2 - 2)
    (driver.folder / "go").touch()
    assert driver.end() == 0, driver.err

    tally.add("workers killed", kills, driver, uri)
    lost, trials = _lost(driver), driver.sweep.trials
    assert len(lost) == kills
    for trial in trials.values():
        mine = sum(event["trial"] == trial.id for event in lost)
        assert trial.stop_reason == ("error" if mine > retries else "completed")
        assert [report.epoch for report in trial.reports] == list(range(1, trial.epochs + 1))
        assert trial.epochs == EPOCHS or trial.stop_reason == "error"
    assert {trial.stop_reason for trial in trials.values()} == {"completed", "error"}
    projected(driver.events, uri)
    for trial in trials.values():
        if trial.failures:
            _as_if_never_killed(trial, vae_data_root)


def _kill_workers(driver, rounds):
    """Kill both processes that train, again and again, whenever both their trials have gone on since."""
    since = _epochs(driver)
    for _ in range(rounds):
        driver.wait_for(lambda since=since: _went_on(driver, since))
        n_lost = len(_lost(driver))
        driver.kill_workers(2)
        driver.wait_for(lambda n_lost=n_lost: len(_lost(driver)) == n_lost + 2)
        since = _epochs(driver)


def _epochs(driver):
    return {trial.id: trial.epochs for trial in driver.sweep.trials.values()}


def _lost(driver):
    """What the journal has of the kills."""
    return [event for event in driver.events if event["event"] == "failure" or event.get("reason") == "error"]


def _went_on(driver, since):
    """Whether two trials run and have gone on."""
    running = [trial for trial in driver.sweep.trials.values() if trial.unfinished]
    return len(running) == 2 and all(since.get(trial.id, 0) < trial.epochs for trial in running)


def _others_are_refused(driver, cli):
    """While a driver holds the sweep, no other process may touch it."""
    for verb in ("resume", "sync", "rm"):
        done = cli(driver.folder, verb, "s")
        assert done.code == 2, done.out
        assert f"process {driver.pid} on " in done.err


def _as_if_never_killed(trial, data_root):
    """A trial is a function of its configuration, killed or not."""
    config = parse_config(trial.config)
    trainer = Trainer(config, load(config.data, data_root, torch.device("cpu")))
    for report in trial.reports:
        assert {name: value for name, value in trainer.train_epoch().metrics.items() if "time/" not in name} == {
            name: value for name, value in report.metrics.items() if "time/" not in name
        }
