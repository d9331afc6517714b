"""Workers that die: their trials go on from their checkpoints, up to a limit that no resume forgives."""

import pytest
import torch

from trainables.config.paths import parse_config
from trainables.data.dataset import load
from trainables.training.trainer import Trainer

pytestmark = pytest.mark.faults

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
space: lr
config: {{model: {{kind: "paced:Paced"}}, data: {{n_train: 200}}, batch_size: 100, epochs: {epochs}}}
search: {{sampler: random, trials: {trials}}}
scheduler: {{kind: none}}
resources: {{concurrency: 2, retries: {retries}}}
"""


@pytest.mark.parametrize(
    ("first", "later", "retries", "trials", "epochs"),
    [((2,), (1,), 1, 2, 50), pytest.param((2, 2), (2,) * 8, 4, 6, 100, marks=pytest.mark.bench)],
    ids=["3", "20"],
)
def test_worker_kills(first, later, retries, trials, epochs, driver, uri, projected, vae_data_root, tally, nets, cli):
    """A process trains a few epochs, then waits for its kill: no trial ends before that, on a machine of any speed.

    first, later: how many of the two workers are killed at a time, before their driver is killed too and after that.
    """
    (driver.folder / "paced.py").write_text(PACED.format(nets=nets))
    (driver.folder / "sweep.yaml").write_text(SPEC.format(epochs=epochs, trials=trials, retries=retries))
    driver.start("sweep", "sweep.yaml").wait_for_lines(1)
    _others_are_refused(driver, cli)
    seconds = _kill_workers(driver, first)
    driver.kill().start("resume", "s", "--model", "paced:Paced")
    seconds += _kill_workers(driver, later)
    (driver.folder / "go").touch()
    assert driver.end() == 0, driver.err

    tally.add("workers killed", sum(first + later), driver, uri, said=max(seconds))
    lost, trials = _lost(driver), driver.sweep.trials
    assert len(lost) == sum(first + later)
    for trial in trials.values():
        mine = sum(event["trial"] == trial.id for event in lost)
        assert trial.stop_reason == ("error" if mine > retries else "completed")
        assert [report.epoch for report in trial.reports] == list(range(1, trial.epochs + 1))
        assert trial.epochs == epochs or trial.stop_reason == "error"
    assert {trial.stop_reason for trial in trials.values()} == {"completed", "error"}
    projected(driver.events, uri)
    for trial in trials.values():
        if trial.failures:
            _as_if_never_killed(trial, vae_data_root)


def _kill_workers(driver, kills):
    """Kill so many of the two processes that train, each time when both their trials have gone on since; seconds until
    the journal says so, of each time."""
    since, seconds = _epochs(driver), []
    for n in kills:
        driver.wait_for(lambda since=since: _went_on(driver, since))
        n_lost = len(_lost(driver))
        driver.kill_workers(2, n)
        seconds.append(driver.seconds_until(lambda due=n_lost + n: len(_lost(driver)) == due))
        since = _epochs(driver)
    return seconds


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
