"""Sweeps on real lanes, without Ray: what a trial reports does not depend on its lane, and an orderly stop loses
nothing."""

from itertools import count
from types import SimpleNamespace

import pytest
from lane_loop import TrainedLoop

from trainables.config.paths import unflatten
from tuner.planning.plans import make_plan
from tuner.running.driver import header_of
from tuner.running.lost_workers import why
from tuner.sweeps.events import Header, line_of
from tuner.sweeps.journal import Journal
from tuner.sweeps.spec import parse_spec

TINY = {
    "space": "lr+batch-size",
    "config.epochs": 4,
    "config.data.n_train": 300,
    "config.model": {"hidden": [8], "latent_dim": 2},
    "search.trials": 6,
    "search.sampler": "random",
    "scheduler.kind": "none",
}


class Sweep(TrainedLoop):
    """A sweep whose journal may have been begun. clock: of its lanes, by default one by which every epoch is saved."""

    def __init__(self, folder, data_dir, clock=None, **paths):
        plan = make_plan(parse_spec(unflatten({**TINY, "name": "s", **paths})), data_dir)
        path = folder / "journal.jsonl"
        folder.mkdir(exist_ok=True)
        self.journal = Journal.open(path) if path.exists() else Journal.create(path)
        if not self.journal.events:
            self.journal.append(Header(header_of(plan, "s", "sqlite:///none.db")))
        session = SimpleNamespace(plan=plan, journal=self.journal, trials=str(folder / "trials"))
        super().__init__(session, clock or count(0.0).__next__)

    def told(self, *, by_trial=False):
        """What happened in order, or trial by trial, but for times, and for what was written and who wrote it."""
        lines = [line_of(event) for event in self.journal.events[1:]]
        kept = [{k: v for k, v in line.items() if k not in ("seq", "session", "t", "checkpoint")} for line in lines]
        for line in kept:
            if "metrics" in line:
                line["metrics"] = {k: v for k, v in line["metrics"].items() if not k.startswith("time/")}
        return sorted(kept, key=lambda line: (line.get("trial", ""), line.get("epoch", 0))) if by_trial else kept


@pytest.fixture
def sweep(tmp_path, vae_data_root):
    return lambda name, **options: Sweep(tmp_path / name, vae_data_root, **options)


@pytest.fixture
def one_by_one(sweep):
    return sweep("one-by-one", **{"resources.concurrency": 1}).run().told(by_trial=True)


@pytest.mark.parametrize("lanes", [1, 2])
def test_the_journal_of_a_sweep_is_the_same_at_any_width_trial_by_trial(lanes, sweep, one_by_one):
    wide = sweep("wide", **{"resources.lanes": lanes, "resources.members": 4, "resources.concurrency": 6})
    assert wide.run(lambda n: n - 1).told(by_trial=True) == one_by_one
    assert wide.peak == (4 if lanes == 1 else 6)


def test_at_one_lane_a_sweep_that_learns_and_prunes_repeats_exactly(sweep):
    options = {"search.sampler": "tpe", "search.trials": 14, "scheduler": {"kind": "asha", "grace": 1}}
    options |= {
        "resources.lanes": 1,
        "resources.members": 5,
        "resources.concurrency": 5,
        "config.beta.kind": "constant",
    }
    once, again = (sweep(name, **options).run() for name in ("once", "again"))
    assert once.told() == again.told()
    reasons = {trial.stop_reason for trial in once.journal.sweep.trials.values()}
    assert (once.peak, reasons) == (5, {"completed", "pruned"})


@pytest.mark.parametrize("n_steps", [1, 3, 6])
def test_a_clean_stop_loses_no_reported_epoch(n_steps, sweep, one_by_one):
    """At a clock by which nothing would be saved until the end."""
    options = {"resources.lanes": 2, "resources.members": 3, "resources.concurrency": 6, "clock": lambda: 0.0}
    stopped = sweep("s", **options).run(n_steps=n_steps)
    stopped.stop()
    reported = len([event for event in stopped.journal.events if event.name == "report"])
    assert reported
    went_on = sweep("s", **options).run()
    assert went_on.told(by_trial=True) == one_by_one
    trained = sum(len(trials) for _, trials in went_on.trained)
    assert trained == 6 * 4 - reported, "no epoch is trained twice"


def test_a_lane_that_is_killed_costs_the_epochs_since_its_last_checkpoint(sweep, one_by_one):
    """They are trained again, and dropped as known."""
    own = sweep("s", **{"resources.lanes": 1, "resources.members": 3, "clock": lambda: 0.0}).run(n_steps=2)
    own.lose(0, why(""))
    own.run()
    kept = [line for line in own.told(by_trial=True) if line["event"] != "failure"]
    assert kept == one_by_one
    trained = sum(len(trials) for _, trials in own.trained)
    assert trained == 6 * 4 + 3 * 2
