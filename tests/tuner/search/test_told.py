"""What Optuna is told from ask to ask: kept, and yet all that a sweep told anew would tell."""

from typing import get_args

import optuna
import pytest
from events import ToldSweep
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.catalogue import parse_space
from tuner.search.optuna_study import OptunaTrials, study_of, suggest
from tuner.search.samplers import Sampling
from tuner.sweeps.spec import Search
from tuner.sweeps.state import fold

SAMPLERS = [kind for kind in get_args(Search.model_fields["sampler"].annotation) if kind != "grid"]  # it has no study
SPACE = parse_space("geco-vs-annealing+lr").scaled(kappa_max=0.27)
METRICS = ({"val/elbo": "max"}, {"val/mse": "min", "val/kl": "min"})
RANDOM = Sampling("random", 1, 100, False, SPACE.default({}))


class History(ToldSweep):
    """A sweep's events as they come, whatever may happen to whichever of its trials."""

    def __init__(self, metrics, n_priors):
        super().__init__(metrics)
        self._value = lambda value: {metric: value + n for n, metric in enumerate(metrics)}
        for number in range(n_priors):
            assignment = suggest(self.sweep, SPACE, RANDOM).assignment if number else SPACE.default({})
            source = {"source_sweep": "earlier", "source_trial": f"{number:04}"}
            values = self._value(float(number % 5)) if number % 4 != 3 else {}
            self.add("prior", **source, assignment=assignment, values=values)

    def read_again(self):
        self.sweep = fold(self.lines)

    def happens(self, what, which, value):
        """One event of one trial that runs, or waits to be decided on, if there is such a one."""
        waits = what == "decision"
        trials = [trial for trial in self.sweep.trials.values() if trial.unfinished and trial.paused == waits]
        if not trials:
            return
        trial = trials[which % len(trials)]
        match what:
            case "decision":
                self.add("decision", trial=trial.id, reason=("pruned", None)[which % 2])
            case "failure":
                self.add("failure", trial=trial.id, error="", kind=("raised", "node", "memory")[which % 3])
            case "error" | "interrupted":
                kind = {"kind": ("raised", "memory", "worker", "node")[which % 4]} if what == "error" else {}
                self.add("end", trial=trial.id, reason=what, error="", **kind)
            case _:
                ends = what in ("completed", "pruned", "budget", "diverged")
                metrics = {} if what == "diverged" else self._value(value)
                decided = ("stop", what) if ends else (what, None)
                self.report(trial.id, metrics, *decided, epoch=trial.epochs + 1)


def facts(sweep, told):
    """What a study holds, but for when each trial was made."""
    study = study_of(sweep, SPACE, optuna.samplers.RandomSampler(), known=told)
    study_id = study._storage.get_study_id_from_name(study.study_name)
    trials = [
        {name: value for name, value in vars(trial).items() if "datetime" not in name}
        for trial in study.get_trials(deepcopy=False)
    ]
    return trials, study._storage.get_study_system_attrs(study_id)


ENDS = ("completed", "completed", "pruned", "budget", "diverged", "error")
EVENTS = (*ENDS, "continue", "pause", "decision", "interrupted", "failure")
steps = st.tuples(
    st.sampled_from(("ask",) * 8 + EVENTS + ("resume", "read again")), st.integers(0, 9), st.floats(-1, 1)
)


@pytest.mark.parametrize("kind", SAMPLERS)
@settings(max_examples=12)
@given(
    history=st.lists(steps, min_size=20, max_size=60),
    n_priors=st.sampled_from((0, 3, 12)),
    metrics=st.sampled_from(METRICS),
    concurrent=st.booleans(),
)
def test_a_search_that_keeps_its_trials_asks_as_one_that_is_told_of_all_anew(
    kind, history, n_priors, metrics, concurrent
):
    happening, told = History(metrics, n_priors), OptunaTrials()
    sampling = Sampling(kind, 0, 20, concurrent, SPACE.default({}))
    for what, which, value in history:
        match what:
            case "ask":
                kept, anew = (suggest(happening.sweep, SPACE, sampling, each) for each in (told, None))
                assert kept == anew
                assert facts(happening.sweep, told) == facts(happening.sweep, None)
                happening.ask(kept)
            case "resume":
                happening.add("resume", more=0)
            case "read again":
                happening.read_again()
            case _:
                happening.happens(what, which, value)
