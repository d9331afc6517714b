"""What a search makes of trials that end without a result: the law that it leaves their region."""

import math
from functools import cache
from typing import get_args

import optuna
import pytest
from configs import ANY
from events import ToldSweep, new_event

from search_spaces.catalogue import parse_space
from search_spaces.domains import Choice, Float
from search_spaces.space import Space
from tuner.search.asha import Asha
from tuner.search.hyperband import HyperBand
from tuner.search.optuna_study import OptunaTrials, study_of, suggest
from tuner.search.samplers import LEARNING, Sampling
from tuner.sweeps.journal import close_session
from tuner.sweeps.spec import Search
from tuner.sweeps.state import fold

STAMP = {"session": "a", "t": 0.0}
SAMPLERS = [kind for kind in get_args(Search.model_fields["sampler"].annotation) if kind != "grid"]  # it draws nothing
ENDS = ("diverged", "raised", "memory", "worker", "node")
OWN = ("diverged", "raised", "memory")
METRICS = (("val/mse",), ("val/mse", "val/kl"))
SEEDS = range(5)
TRIALS, STARTUP = 50, 10

LINE = {path: Float(0, 1) for path in ("lr.base", "beta.end", "beta.warmup")}
CLIFF = Space("cliff", {}, LINE)
OPTION = Space("option", {}, {"optimizer.kind": Choice(("adam", "sgd")), **LINE})


def beyond_half(assignment):
    return assignment["lr.base"] > 0.5


def with_sgd(assignment):
    return assignment["optimizer.kind"] == "sgd"


HALVES = {"cliff": (CLIFF, beyond_half), "option": (OPTION, with_sgd)}


class Search50(ToldSweep):
    """A sweep, `ahead` trials at once, of a function that is best near the edge of what fails."""

    def __init__(self, space, kind, seed, metrics, fails, end, ahead=1):
        super().__init__(dict.fromkeys(metrics, "min"))
        self.fails, self.end, self.metrics = fails, end, metrics
        sampling, told = Sampling(kind, seed, TRIALS, ahead > 1, space.default({})), OptunaTrials()
        for number in range(TRIALS + ahead - 1):
            if number < TRIALS:
                self.ask(suggest(self.sweep, space, sampling, told))
            if number >= ahead - 1:
                self.finish(f"{number - ahead + 1:04}")

    def finish(self, trial):
        drawn = self.sweep.trials[trial].assignment
        loss = abs(drawn["lr.base"] - 0.4)
        if not self.fails(drawn):
            self.report(trial, {metric: loss + n for n, metric in enumerate(self.metrics)})
        elif self.end == "diverged":
            self.report(trial, {}, reason="diverged")
        else:
            self.add("end", trial=trial, reason="error", error="", kind=self.end)

    @property
    def share(self):
        """Of the trials after those that are drawn at random."""
        drawn = [trial.assignment for trial in self.sweep.trials.values()][STARTUP:]
        return sum(map(self.fails, drawn)) / len(drawn)


@cache
def share_of_failures(half, kind, end, metrics=METRICS[0], ahead=1):
    space, fails = HALVES[half]
    return sum(Search50(space, kind, seed, metrics, fails, end, ahead).share for seed in SEEDS) / len(SEEDS)


# --- the law ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("kind", SAMPLERS)
def test_what_learns_leaves_the_half_that_fails_and_what_does_not_stays(half, kind):
    share = share_of_failures(half, kind, "diverged")
    assert share < 0.35 if kind in LEARNING else 0.4 < share < 0.6


@pytest.mark.parametrize("kind", LEARNING)
def test_it_holds_for_several_metrics_and_with_several_trials_at_once(kind):
    assert share_of_failures("cliff", kind, "diverged", metrics=METRICS[1]) < 0.35
    assert share_of_failures("cliff", kind, "diverged", ahead=4) < 0.35


def test_trap_told_as_fail_tpe_runs_into_the_half_that_fails():
    """What is lost with a node is told so: of that, nothing is to be learned."""
    assert share_of_failures("cliff", "tpe", "node") > 0.6


def test_where_everything_fails_tpe_looks_everywhere():
    """Optuna would take the first failure for a good trial, and stay beside it."""
    near = []
    for seed in SEEDS:
        search = Search50(CLIFF, "tpe", seed, METRICS[0], lambda drawn: True, "raised")
        first, *later = (trial.assignment for trial in search.sweep.trials.values())
        near += [abs(drawn["lr.base"] - first["lr.base"]) < 0.1 for drawn in later[STARTUP:]]
    assert sum(near) / len(near) < 0.2, "a uniform draw is that near with a probability of at most .2"


# --- what is told -----------------------------------------------------------------------------------------------------


def ended(*events):
    """A sweep of one trial with these events."""
    header = {"event": "header", "metric": "val/mse", "direction": "min"}
    asked = {"event": "ask", "trial": "0000", "number": 0, "assignment": {"lr.base": 0.5}, "config": ANY, "method": ""}
    told = [{"trial": "0000", "error": "", **event} for event in events]
    return fold({**STAMP, **event} for event in (header, asked, *told))


def state(sweep):
    (told,) = study_of(sweep, Space("line", {}, {"lr.base": Float(0, 1)}), optuna.samplers.RandomSampler()).trials
    return told.state.name


@pytest.mark.parametrize("end", ENDS[1:])
def test_the_kind_of_an_error_decides(end):
    sweep = ended({"event": "end", "reason": "error", "kind": end})
    assert state(sweep) == ("PRUNED" if end in OWN else "FAIL")
    assert sweep.trials["0000"].failed == (end in OWN)


@pytest.mark.parametrize(("failures", "expected"), [((), "PRUNED"), (("raised",), "PRUNED"), (("node",), "FAIL")])
def test_of_an_old_journal_the_failure_before_the_end_decides(failures, expected):
    lost = [{"event": "failure", "kind": kind} for kind in failures]
    assert state(ended(*lost, {"event": "end", "reason": "error"})) == expected


def test_a_trial_that_the_budget_ends_before_its_first_epoch_is_no_failure():
    assert state(ended({"event": "end", "reason": "budget"})) == "FAIL"


# --- resumed ----------------------------------------------------------------------------------------------------------

RULES = {"none": None, "asha": Asha((1, 3), 3, "max"), "hyperband": HyperBand((1, 3), 3, "max", 9, 12)}


@pytest.mark.parametrize("orderly", [True, False], ids=["interrupted", "killed"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("death", [1, 4, 9, 16, 25, 36])
def test_after_a_resume_each_unfinished_trial_is_handed_out_or_decided_and_none_stays_running(
    tmp_path, tune_loop, rule, death, orderly
):
    def loop():
        known = {"n_trials": 12, "epochs": 9, "concurrency": 4, "retries": 1}
        return tune_loop(tmp_path / "j", RULES[rule], lambda number, epoch: math.sin(number * epoch), **known)

    dying = loop().run(n_results=death)
    for (trial, _), kind in zip(dying.running, ("node", "memory"), strict=False):
        dying.hear(trial, error="", kind=kind)
    if orderly:
        close_session(dying.journal, "interrupted")
    unfinished = {trial.id: trial.paused for trial in dying.journal.sweep.trials.values() if trial.unfinished}
    dying.journal.close()

    resumed, handed = loop(), set()
    next_trial = resumed.handing_out.next_trial

    def watched():
        given = next_trial()
        handed.update([given["trial"]] if isinstance(given, dict) else [])
        return given

    resumed.handing_out.next_trial = watched
    resumed.journal.append(new_event("resume", more=0))
    resumed.run()
    assert {trial for trial, paused in unfinished.items() if not paused} <= handed
    told = study_of(resumed.journal.sweep, parse_space("lr"), optuna.samplers.RandomSampler()).trials
    assert len(told) == 12
    assert all(trial.state.is_finished() for trial in told)
