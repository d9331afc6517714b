"""A worker of Tune's that serves lane after lane, and trials that go on in another."""

import json
from itertools import count

import pytest
import ray
from ray.tune import Trainable

from trainables.config.paths import parse_config, plain
from trainables.data.dataset import data_facts
from trainables.errors import RESULT_KEY
from trainables.resolve import resolve
from trainables.worker.lane import Lane
from trainables.worker.orders import Orders
from trainables.worker.ray_tune import LaneTrainable


@pytest.fixture
def settings(tmp_path, vae_data_root):
    """What Tune gives a worker for a trial."""

    def make(trial, seed, epochs_done=0):
        config = parse_config({"epochs": 3, "seed": seed})
        resolved = resolve(config, data_facts(config.data, vae_data_root))
        return {
            "trial": trial,
            "config": json.dumps(plain(resolved)),
            "folder": str(tmp_path),
            "data_dir": str(vae_data_root),
            "session": "a",
            "epochs_done": epochs_done,
        }

    return make


class Worker:
    """A lane of one trial after the other; every epoch is saved."""

    def __init__(self, given):
        self.lane = Lane(given, count(0.0).__next__)
        self.reset(given)

    def reset(self, given):
        self._orders = Orders(tuple(self.lane.members), (given,))

    def report(self):
        orders, self._orders = self._orders, Orders()
        told = self.lane.step(orders)
        return told["reports"][0] if "reports" in told else told


def metrics(worker):
    return {name: value for name, value in worker.report()["metrics"].items() if not name.startswith("time/")}


@pytest.fixture
def desk(monkeypatch):
    """Orders that lie ready by lane, in place of the actor's; where there are none, the actor is gone."""
    ready = {}

    def taken(self):
        if not ready.get(self._number):
            raise ray.exceptions.RayActorError
        return ready[self._number].pop(0)

    monkeypatch.setattr(LaneTrainable, "_taken", taken)
    return ready


def test_trap_10_a_worker_is_started_for_every_trial(settings, desk):
    """Tune reuses an actor only where its trainable takes a new configuration; the stock one refuses."""
    assert Trainable().reset_config({}) is False
    first, second = settings("0000", seed=0), settings("0001", seed=1)
    desk[0] = [Orders(start=(first,)), Orders(stop=("0000",)), Orders(end=True)]
    desk[1] = [Orders(start=(second,))]
    used = LaneTrainable({**first, "lane": 0, "desk": "d"})
    assert [report["trial"] for report in json.loads(used.train()[RESULT_KEY])["reports"]] == ["0000"]
    assert used.train()["done"]
    assert used.reset({**second, "lane": 1, "desk": "d"}) is True
    (report,) = json.loads(used.train()[RESULT_KEY])["reports"]
    told = {name: value for name, value in report["metrics"].items() if not name.startswith("time/")}
    assert told == metrics(Worker(settings("0002", seed=1)))
    assert json.loads(used.train()[RESULT_KEY]) == {"orders": "lost"}


def test_a_trial_goes_on_in_another_worker_as_if_it_had_never_paused(settings):
    undisturbed = Worker(settings("0000", seed=0))
    paused, other = Worker(settings("0001", seed=0)), Worker(settings("0002", seed=1))
    assert metrics(undisturbed) == metrics(paused)
    metrics(other)
    other.reset(settings("0001", seed=0, epochs_done=1))
    assert [metrics(undisturbed), metrics(undisturbed)] == [metrics(other), metrics(other)]


def test_a_trial_whose_worker_died_unheard_reports_its_last_epoch_again(settings):
    """The checkpoint is an epoch ahead of what the driver knows."""
    undisturbed, killed = Worker(settings("0000", seed=0)), Worker(settings("0001", seed=0))
    expected = [metrics(undisturbed) for _ in range(3)]
    assert [metrics(killed), metrics(killed)] == expected[:2]
    successor = Worker(settings("0001", seed=0, epochs_done=1))
    assert [metrics(successor), metrics(successor)] == expected[1:]


def test_a_trial_that_died_after_its_last_epoch_reports_it_again(settings, tmp_path):
    killed = Worker(settings("0001", seed=0))
    expected = [metrics(killed) for _ in range(3)]
    assert [path.name for path in (tmp_path / "0001").glob("*.safetensors")] == ["checkpoint.safetensors"]
    successor = Worker(settings("0001", seed=0, epochs_done=2))
    assert metrics(successor) == expected[2]


def test_a_trial_whose_checkpoint_is_damaged_goes_on_from_the_one_before_and_says_so(settings, tmp_path):
    undisturbed, killed = Worker(settings("0000", seed=0)), Worker(settings("0001", seed=0))
    expected = [metrics(undisturbed) for _ in range(3)]
    metrics(killed), metrics(killed)
    newest = max((tmp_path / "0001").glob("epoch-*"))
    newest.write_bytes(newest.read_bytes()[:-5])
    successor = Worker(settings("0001", seed=0, epochs_done=2))
    report = successor.report()
    assert (report["epoch"], len(report["warnings"])) == (2, 1)
    assert str(newest) in report["warnings"][0]
    assert metrics(successor) == expected[2]


def test_a_trial_that_has_lost_all_its_checkpoints_begins_anew_and_says_so(settings, tmp_path):
    undisturbed, killed = Worker(settings("0000", seed=0)), Worker(settings("0001", seed=0))
    expected = metrics(undisturbed)
    metrics(killed)
    for path in (tmp_path / "0001").iterdir():
        path.write_bytes(b"")
    report = Worker(settings("0001", seed=0, epochs_done=1)).report()
    assert report["epoch"] == 1
    assert "the trial starts again" in report["warnings"][-1]
    assert {name: report["metrics"][name] for name in expected} == expected


def test_a_model_that_raises_fails_its_trial_and_the_worker_goes_on(settings, monkeypatch):
    def raises(*_):
        raise RuntimeError("CUDA out of memory")

    worker = Worker(settings("0000", seed=0))
    with monkeypatch.context() as broken:
        broken.setattr("trainables.training.step.Members.step", raises)
        assert worker.report()["error"].rstrip().endswith("RuntimeError: CUDA out of memory")
    worker.reset(settings("0001", seed=0))
    assert metrics(worker)["epoch"] == 1


def test_a_disk_that_is_full_is_no_failure_of_the_trial(settings, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    worker = Worker(settings("0000", seed=0))
    monkeypatch.setattr("trainables.files.checkpoint.save_file", full)
    report = worker.report()
    assert "error" not in report
    assert "No space left on device" in report["storage"]
