"""A lane: each of its trials reports, keeps and goes on as if it were alone."""

import json
import shutil
import socket
import tempfile
from asyncio import CancelledError
from itertools import count

import numpy as np
import pytest
import torch

from trainables.config.paths import parse_config, plain
from trainables.data.dataset import data_facts
from trainables.data.readers import digest
from trainables.files.checkpoint import read
from trainables.files.trial_files import BEST_NAME, FILE_NAME, trial_files
from trainables.resolve import resolve
from trainables.worker import lane as lane_module
from trainables.worker import member as member_module
from trainables.worker.lane import Lane
from trainables.worker.orders import Orders

EPOCHS = 4
TINY = {"data": {"n_train": 64}, "batch_size": 32, "model": {"hidden": [8], "latent_dim": 2}}


class Alone:
    """A trial that has a lane for itself, from its first orders on. Each look at the clock takes a second, so that
    every epoch is saved."""

    def __init__(self, given, clock=None):
        self.lane = Lane(given, clock or count(0.0).__next__)
        self._orders = Orders(start=(given,))

    def report(self):
        told = self.lane.step(self._orders)
        self._orders = Orders()
        return told["reports"][0] if "reports" in told else told

    @property
    def trainer(self):
        (member,) = self.lane.members.values()
        return member.trainer


@pytest.fixture
def given(vae_data_root, tmp_path):
    """given(root of the trials, epochs the driver knows of) → what a lane is given with one of its trials."""

    def build(root=tmp_path / "trials", epochs_done=0, config=(), **further):
        config = parse_config({**TINY, "epochs": EPOCHS, "device": "cpu", "threads": 1, **dict(config)})
        own = {
            "trial": "0000",
            "config": json.dumps(plain(resolve(config, data_facts(config.data, vae_data_root)))),
            "folder": str(root),
            "data_dir": str(vae_data_root),
            "working_dir": str(tmp_path),
            "session": "a",
            "epochs_done": epochs_done,
        }
        return {**own, **further}

    return build


@pytest.fixture
def trainable(given):
    """trainable(root of the trials, epochs the driver knows of) → a trial in a new lane."""
    return lambda *known, **further: Alone(given(*known, **further))


def reported(own):
    return own.report()


def numbers(report):
    return {name: value for name, value in report["metrics"].items() if not name.startswith("time/")}


@pytest.fixture
def undisturbed(trainable, tmp_path):
    """The reports of a trial that nothing happens to."""
    own = trainable(tmp_path / "undisturbed")
    return [reported(own) for _ in range(EPOCHS)]


@pytest.fixture
def next_node(tmp_path, monkeypatch):
    """next_node() loses this node's own disk, and goes on on another with an empty one."""

    def go_on():
        shutil.rmtree(tmp_path / "node", ignore_errors=True)
        (tmp_path / "node").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "node"))

    return go_on


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_trial_places_its_data_by_its_share_of_the_memory(share, tmp_path, trainable):
    own = trainable(tmp_path, memory_share=share)
    own.report()
    assert own.trainer.dataset.ahead == (share == 0)


def test_a_trial_that_loses_its_node_after_every_epoch_gives_the_same_numbers(
    trials_root, trainable, undisturbed, next_node
):
    for epoch in range(1, EPOCHS + 1):
        next_node()
        report = reported(trainable(trials_root, epoch - 1))
        assert report["epoch"] == epoch
        assert report["warnings"] == []
        assert numbers(report) == numbers(undisturbed[epoch - 1])
    assert report["checkpoint"] == FILE_NAME


def test_an_epoch_that_was_not_heard_of_is_reported_again(trials_root, trainable, undisturbed, next_node):
    reported(trainable(trials_root))
    next_node()
    again = reported(trainable(trials_root, session="b"))
    assert (again["epoch"], numbers(again)) == (1, numbers(undisturbed[0]))
    assert "-b." in again["checkpoint"]


def test_what_is_reported_outlives_the_node_and_little_else_is_kept(trials_root, trainable, next_node):
    next_node()
    own, kept = trainable(trials_root), []
    for _ in range(EPOCHS):
        kept.append(reported(own)["checkpoint"])
        next_node()
        names = trial_files(trials_root, "0000").names()
        assert kept[-1] in names
        assert len(names) <= 2 or kept[-1] == FILE_NAME
    assert names == [FILE_NAME, "config.yaml", "reconstructions.png", "samples.png"]


def best_epoch(direction, **further):
    """What a driver gives a worker: ranked by the number of the epoch, the best is the first, or the last."""
    ranking = {"kind": "best", "metric": "epoch", "direction": direction}
    return {"ranking": json.dumps(ranking), **{name: json.dumps(value) for name, value in further.items()}}


def kept(root, name):
    with trial_files(root, "0000").reading(name) as path:
        return read(path)


@pytest.mark.parametrize(("direction", "best"), [("min", 1), ("max", EPOCHS)])
def test_the_checkpoint_of_the_best_epoch_outlives_every_node_of_a_trial(
    direction, best, trials_root, trainable, undisturbed, next_node
):
    for done in range(EPOCHS):
        next_node()
        so_far = None if done == 0 else [1, 1.0] if best == 1 else [done, float(done)]
        report = reported(trainable(trials_root, done, **best_epoch(direction, best=so_far)))
        assert (numbers(report), report["warnings"]) == (numbers(undisturbed[done]), [])
    assert kept(trials_root, FILE_NAME).epoch == EPOCHS
    names = trial_files(trials_root, "0000").names()
    assert (BEST_NAME in names) is (best < EPOCHS)
    found = kept(trials_root, BEST_NAME if best < EPOCHS else FILE_NAME)
    assert found.epoch == best
    assert numbers({"metrics": found.metrics}) == numbers(undisturbed[best - 1])


def test_the_best_checkpoint_has_the_parameters_of_its_epoch(tmp_path, trainable):
    own = trainable(tmp_path / "own", **best_epoch("min"))
    then = None
    for epoch in range(1, EPOCHS + 1):
        reported(own)
        if epoch == 1:
            then = {name: value.detach().clone() for name, value in own.trainer.params.items()}
    found = kept(tmp_path / "own", BEST_NAME).groups["params"]
    assert all(torch.equal(found[name], value) for name, value in then.items())
    assert any(not torch.equal(found[name], value) for name, value in own.trainer.params.items())


def test_a_trial_that_patience_ends_leaves_its_results(trials_root, trainable, next_node):
    for done in range(3):
        next_node()
        report = reported(
            trainable(trials_root, done, **best_epoch("min", patience=2, best=[1, 1.0] if done else None))
        )
        assert (report["checkpoint"] == FILE_NAME) is (done == 2)
    assert trial_files(trials_root, "0000").names() == [
        BEST_NAME,
        FILE_NAME,
        "config.yaml",
        "reconstructions.png",
        "samples.png",
    ]
    assert [kept(trials_root, name).epoch for name in (BEST_NAME, FILE_NAME)] == [1, 3]


@pytest.mark.parametrize("root", ["/proc/nothing", "file:///proc/nothing"])
def test_storage_that_cannot_be_written_is_told_from_an_error_of_the_trial(root, trainable, monkeypatch):
    monkeypatch.setattr("trainables.files.trial_files.PATIENCE", ())
    report = reported(trainable(root))
    assert "/proc/nothing/0000 cannot be written" in report["storage"]
    assert "error" not in report


def test_storage_that_cannot_be_read_ends_no_trial(trainable, monkeypatch):
    monkeypatch.setattr("trainables.files.trial_files.PATIENCE", ())
    report = reported(trainable("s3://bucket?nonsense=1", 1))
    assert report.keys() == {"storage"}
    assert "s3://bucket/0000?nonsense=1 cannot be read" in report["storage"]


def test_data_shipped_with_a_job_are_found_where_this_node_unpacked_them(tmp_path, given, monkeypatch):
    monkeypatch.delenv("TUNE_ORIG_WORKING_DIR", raising=False)
    driver, node = tmp_path / "driver", tmp_path / "node"
    driver.mkdir()
    np.save(driver / "x.npy", np.random.default_rng(0).random((300, 4), dtype=np.float32))
    own = given(config={"data": {"name": str(driver / "x.npy")}, "epochs": 1}, working_dir=str(driver))
    driver.rename(node)
    monkeypatch.chdir(node)
    found = Alone(own)
    assert "metrics" in found.report()
    assert found.trainer.dataset.train.array.filename == node / "x.npy"
    assert found.trainer.config.data.name == str(driver / "x.npy")


class OwnError(BaseException):
    """As a user may write one."""


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, KeyboardInterrupt, CancelledError, GeneratorExit, OwnError])
def test_what_a_model_raises_is_a_report_and_keeps_its_text(kind, trainable, monkeypatch):
    def fail(trainers):
        raise kind("no such luck")

    monkeypatch.setattr("trainables.worker.lane.train_together", fail)
    found = reported(trainable())
    assert found["error"].endswith(f"{kind.__name__}: no such luck\n")
    assert found["kind"] == "raised"


def test_data_that_are_not_the_sweeps_stop_it_in_order(trainable, tmp_path, vae_data_root):
    known = digest("digits", vae_data_root)
    assert "metrics" in reported(trainable(tmp_path / "same", identity=json.dumps({"data": known})))
    assert "metrics" in reported(trainable(tmp_path / "unknown", identity="{}"))
    found = reported(trainable(tmp_path / "other", identity=json.dumps({"data": "0" * 16})))
    assert found.keys() == {"storage"}
    assert f"the data digits are not those of the sweep (digest {known} here, {'0' * 16} there)" in found["storage"]
    assert found["storage"].startswith(f"on {socket.gethostname()} ")


def test_a_lane_reads_a_file_once_and_again_when_it_was_written_anew(tmp_path, given):
    values = np.random.default_rng(0).random((60, 4), dtype=np.float32)
    np.save(tmp_path / "x.npy", values)
    own = given(config={"data": {"name": str(tmp_path / "x.npy")}}, data_dir=str(tmp_path))
    lane = Lane(own)
    lane.step(Orders(start=({**own, "trial": "0000"}, {**own, "trial": "0001"})))
    first = lane.members["0000"].trainer.dataset
    assert lane.members["0001"].trainer.dataset is first
    np.save(tmp_path / "y.npy", values + 1)
    (tmp_path / "y.npy").replace(tmp_path / "x.npy")
    lane.step(Orders(start=({**own, "trial": "0002"},)))
    second = lane.members["0002"].trainer
    assert second.dataset.val.min() >= 1
    assert second.identity.data == digest(str(tmp_path / "x.npy"), tmp_path) != first.digest
    lane.step(Orders(start=({**own, "trial": "0003"},), stop=("0000", "0001")))
    assert lane.members["0003"].trainer.dataset is second.dataset


# --- several trials in a lane -----------------------------------------------------------------------------------------

PARTS = {
    "plain": {},
    "other rate": {"lr": {"kind": "constant", "base": 0.02}},
    "other batch": {"batch_size": 16},
    "other seed": {"seed": 1},
    "other data": {"data": {"n_train": 96}},
    "other model": {"model": {"hidden": [6], "latent_dim": 2}},
}
PARTS_IDS = tuple(f"{number:04}" for number in range(len(PARTS)))


class Shared:
    """Several trials in one lane: step(stop=…, start=…) → what is told, by trial."""

    def __init__(self, given, clock=None, parts=PARTS):
        self._given = given
        self.parts = dict(zip((f"{number:04}" for number in range(len(parts))), parts.values(), strict=True))
        self.lane = Lane(given(), clock or count(0.0).__next__)

    def start(self, trial, epochs_done=0):
        return {**self._given(config=self.parts[trial], epochs_done=epochs_done), "trial": trial}

    def step(self, stop=(), start=()):
        told = self.lane.step(Orders(stop=tuple(stop), start=tuple(map(self.start, start))))
        return {report["trial"]: report for report in told["reports"]}


@pytest.fixture
def by_themselves(given, tmp_path):
    """By trial, what those of PARTS report when each has a lane for itself."""
    found = {}
    for number, parts in enumerate(PARTS.values()):
        alone = Alone({**given(tmp_path / "alone", config=parts), "trial": f"{number:04}"})
        found[f"{number:04}"] = [numbers(alone.report()) for _ in range(EPOCHS)]
    return found


def test_trials_that_come_and_go_report_what_they_would_alone(given, by_themselves):
    own, seen = Shared(given), {trial: [] for trial in by_themselves}
    for stop, start in (
        ((), ("0000", "0001", "0004")), ((), ("0002", "0003")), (("0001",), ("0005",)), ((), ()), (("0000", "0004"), ())
    ):  # fmt: skip
        for trial, report in own.step(stop, start).items():
            seen[trial].append(numbers(report))
    assert [len(reports) for reports in seen.values()] == [4, 2, 4, 4, 4, 3]
    for trial, reports in seen.items():
        assert reports == by_themselves[trial][: len(reports)], trial
    assert all(seen.values())


@pytest.mark.parametrize("error", [RuntimeError("boom"), torch.OutOfMemoryError("CUDA out of memory")], ids=str)
def test_a_trial_that_raises_leaves_its_lane_and_its_neighbours_numbers_as_they_were(
    error, given, by_themselves, monkeypatch
):
    """Those of its own group as well: it is found by training each of them alone."""
    own, train = Shared(given), lane_module.train_together

    def train_or_fail(trainers):
        if any(trainer.config.lr.base == 0.02 and trainer.epoch == 1 for trainer in trainers):
            raise error
        return train(trainers)

    monkeypatch.setattr(lane_module, "train_together", train_or_fail)
    own.step(start=PARTS_IDS)
    second = own.step()
    assert "metrics" not in second["0001"]
    assert second["0001"]["error"].rstrip().endswith(str(error))
    assert second["0001"]["kind"] == ("memory" if "memory" in str(error) else "raised")
    third = own.step()
    assert third.keys() == set(PARTS_IDS) - {"0001"}
    for trial in third:
        assert [numbers(second[trial]), numbers(third[trial])] == by_themselves[trial][1:3]


def test_a_trial_whose_results_cannot_be_made_is_told_of_and_the_others_end(given, by_themselves, monkeypatch):
    """Its pictures are made by its model."""
    own, write = Shared(given), member_module.write_results

    def write_or_fail(folder, trainer, *rest):
        if trainer.config.lr.base == 0.02:
            raise RuntimeError("no picture")
        write(folder, trainer, *rest)

    monkeypatch.setattr(member_module, "write_results", write_or_fail)
    own.step(start=PARTS_IDS)
    for _ in range(EPOCHS - 1):
        last = own.step()
    assert last["0001"]["error"].rstrip().endswith("no picture")
    assert {trial: numbers(last[trial]) for trial in last if trial != "0001"} == {
        trial: found[EPOCHS - 1] for trial, found in by_themselves.items() if trial != "0001"
    }


def test_a_trial_that_cannot_begin_is_told_of_and_the_others_train(given, by_themselves):
    own = Shared(given, parts={"good": {}, "bad": {}})
    bad = {**own.start("0001"), "config": "{"}
    told = own.lane.step(Orders(start=(own.start("0000"), bad)))["reports"]
    assert [report["trial"] for report in told] == ["0000", "0001"]
    assert numbers(told[0]) == by_themselves["0000"][0]
    assert "error" in told[1]
    assert list(own.step()) == ["0000"]


def test_a_trial_that_diverges_does_not_reach_its_neighbours(given, by_themselves):
    parts = {"plain": {}, "diverges": {"lr": {"kind": "constant", "base": 1e30}, "optimizer": {"kind": "sgd"}}}
    own = Shared(given, parts=parts)
    first = own.step(start=("0000", "0001"))
    assert (first["0001"]["diverged"], first["0001"]["checkpoint"]) == (True, None)
    second = own.step(stop=("0001",))
    assert [numbers(first["0000"]), numbers(second["0000"])] == by_themselves["0000"][:2]


def test_a_lane_waits_without_members_and_ends_where_it_is_told_to(given):
    own = Shared(given)
    own.step(start=("0000",))
    assert own.lane.step(Orders(stop=("0000",))) is None
    assert own.lane.step(Orders(end=True)) is None
    assert own.lane.members == {}


# --- what is saved, and when ------------------------------------------------------------------------------------------


class Clock:
    """Of which each epoch takes so many seconds."""

    def __init__(self, monkeypatch, seconds):
        self.now, train = 0.0, lane_module.train_together

        def slowly(trainers):
            self.now += seconds
            return train(trainers)

        monkeypatch.setattr(lane_module, "train_together", slowly)

    def __call__(self):
        return self.now


def epochs_kept(given, trial):
    names = trial_files(given()["folder"], trial).names()
    return {int(name.split("-")[1]) for name in names if name.startswith("epoch-")}


LONG = {"epochs": 50}


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.125, [7, 14, 21]), (0.25, [3, 6, 9]), (0.5, [1, 2, 3]), (7.0, [1, 2, 3])]
)
def test_a_lane_saves_once_a_second_and_a_longer_epoch_before_it_is_told(seconds, expected, given, monkeypatch):
    """Of epochs of an eighth of a second the seventh is: after the eighth the second is over."""
    own = Shared(given, Clock(monkeypatch, seconds), parts={"one": LONG, "two": LONG})
    told = [own.step(start=("0000", "0001") if n == 0 else ()) for n in range(30)]
    saved = [[n for n, report in enumerate(told, 1) if report[trial]["checkpoint"]] for trial in ("0000", "0001")]
    assert saved[0] == saved[1]
    assert saved[0][:3] == expected


def test_whoever_leaves_is_saved_with_its_last_epoch_and_nobody_else_is(given, monkeypatch):
    own = Shared(given, Clock(monkeypatch, 0.01), parts={"one": LONG, "two": LONG})
    own.step(start=("0000", "0001"))
    for _ in range(4):
        own.step()
    assert epochs_kept(given, "0000") == epochs_kept(given, "0001") == set()
    own.step(stop=("0000",))
    assert (epochs_kept(given, "0000"), epochs_kept(given, "0001")) == ({5}, set())


def test_a_lane_that_is_told_to_end_loses_no_epoch_that_it_has_reported(given, by_themselves, monkeypatch):
    own = Shared(given, Clock(monkeypatch, 0.01))
    own.step(start=PARTS_IDS)
    own.step()
    assert own.lane.step(Orders(end=True)) is None
    again = Shared(given)
    third = again.lane.step(Orders(start=tuple(again.start(trial, epochs_done=2) for trial in PARTS_IDS)))["reports"]
    assert {report["trial"]: numbers(report) for report in third} == {t: by_themselves[t][2] for t in PARTS_IDS}


def test_a_lane_that_is_killed_tells_again_what_it_had_not_saved(given, by_themselves, monkeypatch):
    own = Shared(given, Clock(monkeypatch, 0.35))
    own.step(start=("0000",))
    own.step()
    own.step()  # saved at the second epoch alone
    assert epochs_kept(given, "0000") == {2}
    again = Shared(given)
    (report,) = again.lane.step(Orders(start=(again.start("0000", epochs_done=3),)))["reports"]
    assert (report["epoch"], numbers(report)) == (3, by_themselves["0000"][2])


def test_the_best_epoch_is_saved_at_once(given, monkeypatch):
    own = Alone(given(**best_epoch("min")), Clock(monkeypatch, 0.01))
    assert [bool(own.report()["checkpoint"]) for _ in range(3)] == [True, False, False]
    assert own.report()["checkpoint"] == FILE_NAME
    assert kept(given()["folder"], BEST_NAME).epoch == 1


def test_results_are_written_of_trials_that_complete_alone(given):
    own = Shared(given, parts={"short": {"epochs": 2}, "long": {}})
    own.step(start=("0000", "0001"))
    own.step()
    own.lane.step(Orders(end=True))
    assert "samples.png" in trial_files(given()["folder"], "0000").names()
    assert not [name for name in trial_files(given()["folder"], "0001").names() if name.endswith(".png")]
