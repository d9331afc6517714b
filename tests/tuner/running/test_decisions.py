"""Where the rungs lie, and what is decided on each report by the rung rule, without Ray."""

import math
from types import SimpleNamespace

import pytest
from configs import ANY
from events import new_event
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from tuner.running.decisions import Decisions
from tuner.running.lost_workers import why
from tuner.search.asha import Asha, grace_for, rungs_for
from tuner.sweeps.events import line_of
from tuner.sweeps.journal import Journal, read_journal
from tuner.sweeps.state import NODES_IN_A_ROW

CONTINUE, STOP = True, False
METRIC = "val/elbo"


class Bench:
    """Decisions on a journal of their own; `tell` is one report."""

    def __init__(self, path, epochs=9, rungs=(1, 3), direction="max", n_trials=4):
        self.journal = Journal.create(path)
        self.journal.append(
            new_event("header", format=1, metric=METRIC, direction=direction, epochs=epochs, rungs=list(rungs))
        )
        for number in range(n_trials):
            trial = f"{number:04d}"
            self.journal.append(new_event("ask", trial=trial, number=number, assignment={}, config=ANY, method="elbo"))
        self.heard = []
        asha = Asha(tuple(rungs), 3, direction) if rungs else None
        self.decisions = Decisions(self.journal, METRIC, epochs, asha)
        self.journal.listeners.append(self.heard.append)

    def tell(self, trial, epoch, value, **other):
        report = {"diverged": False, "outcome": None, "checkpoint": None, **other}
        return self.fail_or_report({"trial": trial, "epoch": epoch, "metrics": {METRIC: value}, **report})

    def fail_or_report(self, report):
        return self.decisions.hear(report)

    def last(self, *names):
        return tuple(line_of(self.journal.events[-1])[name] for name in names)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "journal.jsonl")


# --- rungs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "warmup", "expected"),
    [
        (40, 0, (4, False)),  # the least
        (100, 0, (10, False)),  # a tenth of the budget
        (95, 0, (10, False)),  # rounded up
        (20, 10, (10, False)),  # the longest warm-up of the catalogue
        (20, 11, (10, True)),  # longer than half
        (7, 4, (3, True)),
        (6, 0, (3, False)),  # the least is capped without a warm-up that outlasts it
        (1, 0, (1, False)),
    ],
)
def test_the_derived_grace(epochs, warmup, expected):
    assert grace_for(epochs, warmup) == expected


@given(epochs=st.integers(1, 500), warmup=st.integers(0, 500))
def test_grace_outlasts_the_warmup_or_says_so(epochs, warmup):
    grace, capped = grace_for(epochs, warmup)
    assert 1 <= grace <= max(1, epochs / 2)
    assert capped == (warmup > grace)


@given(epochs=st.integers(1, 500), grace=st.integers(1, 500), factor=st.integers(2, 6))
def test_rungs_are_a_geometric_series_below_the_last_epoch(epochs, grace, factor):
    rungs = rungs_for(epochs, grace, factor)
    assert all(rung == grace * factor**i < epochs for i, rung in enumerate(rungs))
    assert grace * factor ** len(rungs) >= epochs


# --- the line that is written -----------------------------------------------------------------------------------------


def test_report_decision_and_checkpoint_are_one_line(bench, tmp_path):
    bench.tell("0000", 1, -1.0)
    n = len(bench.journal.events)
    assert bench.tell("0001", 1, -2.0, checkpoint="c", outcome="ok") == STOP
    assert len(bench.journal.events) == n + 1
    written = read_journal(tmp_path / "journal.jsonl")[-1]
    assert {name: written[name] for name in ("event", "trial", "epoch", "metrics", "decision", "reason")} == {
        "event": "report",
        "trial": "0001",
        "epoch": 1,
        "metrics": {METRIC: -2.0},
        "decision": "stop",
        "reason": "pruned",
    }
    assert (written["rung"], written["cutoff"], written["outcome"], written["checkpoint"]) == (1, -1.0, "ok", "c")
    assert bench.heard == bench.journal.events[-2:]


def test_a_known_report_writes_nothing_and_gets_the_decision_it_got(bench):
    first = [bench.tell("0000", 1, -1.0), bench.tell("0001", 1, -2.0)]
    n = len(bench.journal.events)
    # Its value would be judged otherwise now; what was decided stands.
    assert [bench.tell("0000", 1, -99.0), bench.tell("0001", 1, 99.0)] == first == [CONTINUE, STOP]
    assert len(bench.journal.events) == n


def test_a_reopened_journal_decides_as_the_open_one(tmp_path):
    told = [("0000", 1, 3.0), ("0001", 1, 5.0), ("0002", 1, 4.0), ("0001", 2, 1.0), ("0001", 3, 9.0)]
    straight = Bench(tmp_path / "straight.jsonl")
    decisions = [straight.tell(*report) for report in told]
    for cut in range(len(told)):
        broken = Bench(tmp_path / f"{cut}.jsonl")
        before = [broken.tell(*report) for report in told[:cut]]
        broken.journal = Journal.open(tmp_path / f"{cut}.jsonl")
        broken.decisions = Decisions(broken.journal, METRIC, 9, Asha((1, 3), 3, "max"))
        assert before + [broken.tell(*report) for report in told[cut:]] == decisions
        assert broken.journal.sweep.trials == straight.journal.sweep.trials
        assert broken.journal.sweep.rungs == straight.journal.sweep.rungs


# --- how trials end ---------------------------------------------------------------------------------------------------


def test_the_last_epoch_is_a_completion_whatever_the_rungs_say(bench):
    for epoch in range(1, 9):
        bench.tell("0000", epoch, 10.0 + epoch)
    assert bench.tell("0000", 9, 30.0) == STOP
    assert bench.last("reason", "decision") == ("completed", "stop")
    # A trial that first reports at its last epoch is at a rung there, far below its cutoff.
    assert bench.tell("0001", 9, -30.0) == STOP
    assert bench.last("reason") == ("completed",)


def test_without_a_rule_trials_end_only_by_completion_or_divergence(tmp_path):
    bench = Bench(tmp_path / "journal.jsonl", epochs=3, rungs=())
    values = {"0000": 9.0, "0001": -9.0}
    for epoch in (1, 2):
        assert {bench.tell(trial, epoch, value) for trial, value in values.items()} == {CONTINUE}
    assert bench.tell("0000", 3, 9.0) == STOP
    assert bench.tell("0001", 3, math.nan) == STOP
    reasons = {trial.id: trial.stop_reason for trial in bench.journal.sweep.trials.values()}
    assert reasons == {"0000": "completed", "0001": "diverged", "0002": None, "0003": None}


@pytest.mark.parametrize(
    "report",
    [
        {"metrics": {METRIC: -1.0}, "diverged": True},
        {"metrics": {}, "diverged": False},  # the trainable leaves out what is not finite
        {"metrics": {METRIC: math.inf}, "diverged": False},
        {"metrics": {METRIC: -math.inf}, "diverged": False},
    ],
)
@pytest.mark.parametrize("epoch", [1, 2, 9])
def test_divergence_stops_at_any_epoch_and_is_never_a_completion(bench, report, epoch):
    told = {"trial": "0000", "epoch": epoch, "outcome": None, "checkpoint": None, **report}
    assert bench.fail_or_report(told) == STOP
    assert bench.last("reason", "rung") == ("diverged", None)
    assert not bench.journal.sweep.rungs


def test_an_error_ends_its_trial_once_with_its_text(bench):
    bench.tell("0000", 1, -1.0)
    assert bench.fail_or_report({"trial": "0000", "error": "Traceback: boom"}) == STOP
    assert bench.last("event", "trial", "reason", "error") == ("end", "0000", "error", "Traceback: boom")
    assert bench.last("kind") == ("raised",)
    n = len(bench.journal.events)
    bench.decisions.lose(["0000"], why(""))
    assert bench.fail_or_report({"trial": "0000", "error": "again"}) == STOP
    assert bench.tell("0000", 2, -0.5) == STOP, "what comes after the end is not written"
    assert len(bench.journal.events) == n


def test_a_worker_that_died_ends_its_trial_and_no_other(bench):
    bench.tell("0000", 1, -1.0)
    bench.tell("0001", 1, -2.0)
    for trial in ("0000", "0001"):
        bench.decisions.lose([trial], why(""))
    reasons = [trial.stop_reason for trial in bench.journal.sweep.trials.values()]
    assert reasons == ["error", "pruned", None, None]


NODE = why("The actor died because its node has died. Node Id: 0f")


def test_a_lost_node_takes_no_retry(bench):
    for epoch in range(1, 4):
        bench.decisions.lose(["0000"], NODE)
        assert bench.last("event", "trial", "kind") == ("failure", "0000", "node")
        assert bench.last("error") == ("its node was lost",)
        bench.tell("0000", epoch, 9.0)
    trial = bench.journal.sweep.trials["0000"]
    assert (trial.stop_reason, trial.lost, trial.failures) == (None, 3, 0)


def test_a_trial_that_loses_node_after_node_with_no_epoch_between_ends(bench):
    bench.tell("0000", 1, 9.0)
    for _ in range(NODES_IN_A_ROW):
        bench.decisions.lose(["0000"], NODE)
    bench.tell("0000", 2, 9.0)
    trial = bench.journal.sweep.trials["0000"]
    for _ in range(NODES_IN_A_ROW):
        assert trial.unfinished
        bench.decisions.lose(["0000"], NODE)
    assert (trial.lost, trial.failures) == (2 * NODES_IN_A_ROW, 0)
    bench.decisions.lose(["0000"], NODE)
    assert bench.last("event", "reason", "error", "kind") == ("end", "error", "its node was lost", "node")


# --- traps ------------------------------------------------------------------------------------------------------------


def stock(n_trials, **options):
    scheduler = ASHAScheduler(time_attr="epoch", metric=METRIC, mode="max", brackets=1, **options)
    trials = [SimpleNamespace(trial_id=f"{number:04d}") for number in range(n_trials)]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    return scheduler, trials


def test_trap_01_nan_is_immortal_under_asha(tmp_path):
    finite = [1.0, 2.0, 3.0]
    theirs, trials = stock(4, grace_period=1, max_t=9, reduction_factor=3)
    for epoch in range(1, 9):
        for trial, value in zip(trials, finite, strict=False):
            theirs.on_trial_result(None, trial, {"epoch": epoch, METRIC: value})
        assert theirs.on_trial_result(None, trials[3], {"epoch": epoch, METRIC: math.nan}) == TrialScheduler.CONTINUE

    bench = Bench(tmp_path / "journal.jsonl")
    for number, value in enumerate(finite):
        bench.tell(f"{number:04d}", 1, value)
    assert bench.tell("0003", 1, math.nan) == STOP
    assert bench.last("reason") == ("diverged",)
    assert "0003" not in bench.journal.sweep.rungs[1]


EPOCHS = 20
WARMUPS = (0, 2, 5, 10)
EIGENVALUES = (4, 2, 1, 0.5, 0.25, 0.1)


def learning_curves(warmup, epoch):
    """A linear VAE at its optimum for the β of the moment: −annealed loss and the β = 1 ELBO.

    Reverse water-filling: ½SSE = ½Σ min(β, s) and KL = Σ max(0, ½ ln(s/β)).
    """
    beta = min(1.0, epoch / warmup) if warmup else 1.0
    half_sse = sum(min(beta, s) for s in EIGENVALUES) / 2
    kl = sum(max(0.0, 0.5 * math.log(s / beta)) for s in EIGENVALUES)
    return {"annealed": -(half_sse + beta * kl), "elbo": -(half_sse + kl)}


def stopped_by_stock(order, curve):
    """Warm-up → epoch at which stock ASHA with its default grace stopped it before the end."""
    scheduler, trials = stock(len(order), max_t=EPOCHS)
    running, stopped = dict(zip(order, trials, strict=True)), {}
    for epoch in range(1, EPOCHS):
        for warmup, trial in list(running.items()):
            result = {"epoch": epoch, METRIC: learning_curves(warmup, epoch)[curve]}
            if scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP:
                stopped[warmup] = epoch
                del running[warmup]
    return stopped


def test_trap_12_the_default_grace_kills_or_favours_by_warm_up(tmp_path):
    ends = [learning_curves(warmup, EPOCHS) for warmup in WARMUPS]
    assert ends == [ends[0]] * len(WARMUPS), "all are equally good in the end"

    # On the annealed loss the slow warm-up looks best, and all others are stopped for it.
    assert set(stopped_by_stock(WARMUPS[::-1], "annealed")) == {0, 2, 5}
    # On the β = 1 ELBO it looks worst, and is stopped long before its warm-up has ended.
    killed = stopped_by_stock(WARMUPS, "elbo")
    assert killed[10] < 10

    grace, capped = grace_for(EPOCHS, max(WARMUPS))
    rungs = rungs_for(EPOCHS, grace, 3)
    assert (not capped, rungs) == (True, (10,))
    bench = Bench(tmp_path / "journal.jsonl", epochs=EPOCHS, rungs=rungs)
    for epoch in range(1, EPOCHS + 1):
        for number, warmup in enumerate(WARMUPS):
            bench.tell(f"{number:04d}", epoch, learning_curves(warmup, epoch)["elbo"])
            assert epoch >= max(WARMUPS) or bench.last("decision", "rung") == ("continue", None)
    assert [trial.stop_reason for trial in bench.journal.sweep.trials.values()] == ["completed"] * len(WARMUPS)
