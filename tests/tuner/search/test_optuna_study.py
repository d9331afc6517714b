"""Optuna fed from the journal: what it is told, what is handed out, and what of a sweep is exactly reproducible.

`drive` is Tune's loop without Ray: searcher, scheduler and journal, and trials that are functions of (config, epoch).
"""

import hashlib
import json
import math
from types import SimpleNamespace
from typing import get_args

import optuna
import pytest
from events import ToldSweep, lines_of, new_event
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from search_spaces.catalogue import parse_space
from search_spaces.compile import distributions, suggest_trial
from search_spaces.space import assemble
from trainables.config import method_of
from trainables.config.paths import parse_config, plain
from tuner.running.decisions import Decisions
from tuner.running.handing_out import HandingOut
from tuner.running.lost_workers import why
from tuner.running.tune_searcher import LaneSearcher
from tuner.search import optuna_study
from tuner.search.asha import Asha
from tuner.search.optuna_study import Suggestion, study_of, suggest
from tuner.search.samplers import Sampling, new_sampler
from tuner.sweeps.journal import Journal
from tuner.sweeps.spec import Search
from tuner.sweeps.state import fold

METRIC = "val/elbo"
SAMPLERS = get_args(Search.model_fields["sampler"].annotation)
ASKED = ("trial", "number", "assignment", "memory", "config", "method")
EPOCHS, RUNGS = 9, (1, 3)
SPACE = parse_space("geco-vs-annealing+lr").scaled(kappa_max=0.27)
HEADER = {"format": 1, "metric": METRIC, "direction": "max", "epochs": EPOCHS, "rungs": list(RUNGS)}


def noise(*words):
    """A number in [0, 1) that depends on the words alone."""
    digest = hashlib.blake2b(json.dumps(words, sort_keys=True).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def curve(config, epoch):
    """A trial: better with each epoch, by a configuration's worth; one in twelve diverges in the end."""
    if noise("diverges", config) < 1 / 12 and epoch == 4:
        return math.nan
    return noise("worth", config) + 0.1 * epoch + 0.05 * noise("epoch", config, epoch)


def resolved(assignment):
    config = parse_config(assemble({"data": {"n_train": 320}}, SPACE, assignment))
    return plain(config), method_of(config)


class Sweeper:
    """Searcher and scheduler on one journal, as a driver sets them up, live or after a death."""

    def __init__(self, path, *, n_trials=12, concurrency=1, seed=0, sampler="tpe", priors=()):
        if path.exists():
            self.journal = Journal.open(path)
        else:
            self.journal = Journal.create(path)
            self.journal.append(new_event("header", **HEADER))
            for prior in priors:
                self.journal.append(new_event("prior", **prior))
        self.handing_out = HandingOut(
            self.journal,
            SPACE,
            {},
            resolved,
            sampler=sampler,
            seed=seed,
            n_trials=n_trials,
            concurrency=concurrency,
        )
        asha = Asha(RUNGS, 3, "max")
        self.decisions = Decisions(self.journal, METRIC, EPOCHS, asha)

    def tell(self, trial, epoch, value):
        """One result on its way through Tune; the trainable leaves out what is not finite."""
        metrics = {METRIC: value} if math.isfinite(value) else {}
        report = {"trial": trial, "epoch": epoch, "metrics": metrics, "diverged": False}
        return self.decisions.hear({**report, "outcome": None, "checkpoint": None})

    def handed_out(self):
        """All that the searcher gives before it waits or has finished."""
        given = []
        while isinstance(suggestion := self.handing_out.next_trial(), dict):
            given.append(suggestion)
        return given

    def next_epoch(self, trial):
        """A trial goes on from its checkpoint by telling its last epoch again."""
        return max(1, self.journal.sweep.trials[trial].epochs)


def drive(sweeper, *, curve=curve, next_one=lambda n: 0, n_results=math.inf):
    """Run a sweep to its end, or to the death of its driver after n_results.

    next_one: which of the n running trials is the next to report.
    """
    running = []
    while n_results > 0:
        for given in sweeper.handed_out():
            running.append((given["trial"], json.loads(given["config"]), sweeper.next_epoch(given["trial"])))
        if not running:
            return sweeper
        trial, config, epoch = running.pop(next_one(len(running)))
        if sweeper.tell(trial, epoch, curve(config, epoch)):
            running.append((trial, config, epoch + 1))
        n_results -= 1
    return sweeper


def record(journal):
    """What happened, in order, but for who wrote it and when."""
    return [
        {key: event[key] for key in event if key not in ("seq", "session", "t")} for event in lines_of(journal.events)
    ]


def decisions(journal):
    names = ("trial", "epoch", "decision", "reason", "rung", "cutoff")
    return [tuple(event[name] for name in names) for event in lines_of(journal.events) if event["event"] == "report"]


def assignments(journal):
    return [trial.assignment for trial in journal.sweep.trials.values()]


# --- what is handed out -----------------------------------------------------------------------------------------------


def test_the_default_configuration_is_tried_first_and_configs_are_whole(tmp_path):
    sweeper = drive(Sweeper(tmp_path / "journal.jsonl", n_trials=3))
    trials = list(sweeper.journal.sweep.trials.values())
    assert [(trial.id, trial.number) for trial in trials] == [("0000", 0), ("0001", 1), ("0002", 2)]
    assert trials[0].assignment == SPACE.default({})
    for trial in trials:
        assert (trial.config, trial.method) == resolved(trial.assignment)


@pytest.mark.parametrize("concurrency", [1, 2, 5])
def test_no_more_run_at_once_than_asked_for_and_no_more_in_all(tmp_path, concurrency):
    sweeper = Sweeper(tmp_path / "journal.jsonl", n_trials=4, concurrency=concurrency, sampler="random")
    given = sweeper.handed_out()
    assert len(given) == min(4, concurrency)
    assert sweeper.handing_out.next_trial() is None
    for suggestion in given:
        for epoch in range(1, EPOCHS + 1):
            sweeper.tell(suggestion["trial"], epoch, float(epoch))
    drive(sweeper)
    assert sweeper.handing_out.next_trial() == Searcher.FINISHED
    assert len(sweeper.journal.sweep.trials) == 4


def test_each_draw_lies_in_the_space_and_two_seeds_differ(tmp_path):
    drawn = [assignments(drive(Sweeper(tmp_path / f"{seed}.jsonl", seed=seed)).journal) for seed in (0, 1)]
    for assignment in drawn[0] + drawn[1]:
        assert list(assignment) == SPACE.active(assignment)
        assert all(SPACE.dimensions[path].contains(value) for path, value in assignment.items())
    assert all(first != second for first, second in zip(drawn[0][1:], drawn[1][1:], strict=True))
    assert len({json.dumps(assignment) for assignment in drawn[0]}) == 12


def test_an_error_ends_a_trial_and_frees_its_place(tmp_path):
    sweeper = Sweeper(tmp_path / "journal.jsonl", n_trials=2)
    (first,) = sweeper.handed_out()
    sweeper.decisions.lose([first["trial"]], why(""))
    assert [given["trial"] for given in sweeper.handed_out()] == ["0001"]


def test_a_trial_is_handed_out_again_each_time_its_node_is_lost(tmp_path):
    sweeper = Sweeper(tmp_path / "journal.jsonl", n_trials=1)
    for _ in range(5):
        (given,) = sweeper.handed_out()
        sweeper.decisions.lose([given["trial"]], why("The actor died because its node has died. Node Id: 0f"))
    assert sweeper.journal.sweep.trials["0000"].lost == 5


# --- what Optuna is told ----------------------------------------------------------------------------------------------


REPORTED = ("completed", "pruned", "budget", "diverged")


def written(path, *ends):
    """A sweep whose n-th trial reported the values of the n-th end and then stopped for its reason, or by an error of
    that kind."""
    sweeper = Sweeper(path, n_trials=len(ends), concurrency=len(ends), sampler="random")
    for given, (values, reason) in zip(sweeper.handed_out(), ends, strict=True):
        for epoch, value in enumerate(values, 1):
            stop = reason if epoch == len(values) and reason in REPORTED else None
            fields = {"epoch": epoch, "metrics": {METRIC: value}, "decision": "stop" if stop else "continue"}
            none = dict.fromkeys(("rung", "cutoff", "outcome", "checkpoint"))
            sweeper.journal.append(new_event("report", trial=given["trial"], reason=stop, **fields, **none))
        if reason == "interrupted":
            sweeper.journal.append(new_event("end", trial=given["trial"], reason=reason, error=None))
        elif reason not in (*REPORTED, None):
            sweeper.journal.append(new_event("end", trial=given["trial"], reason="error", error="", kind=reason))
    return sweeper


def test_optuna_is_told_how_each_trial_ended(tmp_path):
    sweeper = written(
        tmp_path / "journal.jsonl",
        ([1.0, 3.0, 2.0], "completed"),
        ([1.0, 0.5], "pruned"),
        ([4.0, 5.0], "budget"),
        ([9.0, math.nan], "diverged"),
        ([1.0, math.nan], "completed"),
        ([7.0], "raised"),
        ([7.0], "memory"),
        ([7.0], "worker"),
        ([7.0], "node"),
        ([6.0], "interrupted"),
        ([5.0], None),
    )
    study = study_of(sweeper.journal.sweep, SPACE, optuna.samplers.RandomSampler())
    complete, pruned, budget, *failed, worker, node, interrupted, running = study.trials
    assert (complete.state, complete.value) == (TrialState.COMPLETE, 2.0), "its last epoch, not its best"
    assert (pruned.state, pruned.intermediate_values) == (TrialState.PRUNED, {1: 1.0, 2: 0.5})
    assert (budget.state, budget.intermediate_values) == (TrialState.PRUNED, {1: 4.0, 2: 5.0})
    for trial in failed:
        assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {}), "TPE takes it as the worst"
    assert len(failed) == 4
    assert (worker.state, node.state) == (TrialState.FAIL, TrialState.FAIL), "nothing is known of it"
    assert (interrupted.state, running.state) == (TrialState.RUNNING, TrialState.RUNNING)
    assert [trial.params for trial in study.trials] == assignments(sweeper.journal)
    assert study.best_trial.number == 0
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE


def test_tpe_learns_from_results_and_random_does_not(tmp_path):
    """Twelve trials, ten of which come before TPE starts; the same sweep with every value negated."""
    drawn = {}
    for sampler in ("tpe", "random"):
        for sign in (1, -1):
            path = tmp_path / f"{sampler}{sign}.jsonl"
            sweeper = Sweeper(path, n_trials=16, sampler=sampler)
            drive(sweeper, curve=lambda config, epoch, sign=sign: sign * noise("worth", config))
            drawn[sampler, sign] = assignments(sweeper.journal)
    assert drawn["random", 1] == drawn["random", -1]
    assert drawn["tpe", 1][:10] == drawn["tpe", -1][:10]
    assert drawn["tpe", 1][11:] != drawn["tpe", -1][11:]


@pytest.mark.parametrize("sampler", ["tpe", "qmc", "nsga2"])
def test_optuna_is_told_of_a_trial_once_while_it_runs_and_once_when_it_has_ended(tmp_path, monkeypatch, sampler):
    """However often it is asked: what a trial costs does not grow with those before it."""
    made, studied = [], {}

    def create_trial(**facts):
        made.append(facts)
        return optuna.create_trial(**facts)

    def study(*arguments):
        study = study_of(*arguments)
        studied.update((id(trial), trial) for trial in study.get_trials(deepcopy=False))
        return study

    monkeypatch.setattr(optuna.trial, "create_trial", create_trial)
    monkeypatch.setattr(optuna_study, "study_of", study)
    sweep = drive(Sweeper(tmp_path / "j", n_trials=30, concurrency=4, sampler=sampler, priors=told(3))).journal.sweep
    assert len(made) == len(studied)
    assert len(studied) <= len(sweep.priors) + 2 * len(sweep.trials)


# --- resumed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sampler", "orderly"), [*((sampler, False) for sampler in SAMPLERS), ("tpe", True)], ids=str)
def test_a_sweep_that_dies_at_any_result_ends_as_the_undisturbed_one(tmp_path, sampler, orderly):
    """Killed, or interrupted in order. Three priors and the default are NSGA-II's first generation. TPE, which hears of
    every report, dies at each of them."""
    sweep = {"n_trials": 6, "sampler": sampler, "priors": told(3)}
    whole = drive(Sweeper(tmp_path / "whole.jsonl", **sweep))
    n_reports = len(decisions(whole.journal))
    for death in range(0, n_reports, 1 if sampler == "tpe" and not orderly else 3):
        path = tmp_path / f"{death}.jsonl"
        dying = drive(Sweeper(path, **sweep), n_results=death)
        if orderly:
            for trial in [trial for trial in dying.journal.sweep.trials.values() if trial.unfinished]:
                dying.journal.append(new_event("end", trial=trial.id, reason="interrupted", error=None))
            dying.journal.append(new_event("finish", reason="interrupted"))
        dying.journal.close()
        resumed = drive(Sweeper(path, **sweep))
        kept = [event for event in record(resumed.journal) if event["event"] in ("header", "prior", "ask", "report")]
        assert kept == record(whole.journal)
        resumed.journal.close()


# --- told of earlier sweeps -------------------------------------------------------------------------------------------


def told(n, sign=1.0):
    """Trials of an earlier sweep of this space, but for its default."""
    sampling = Sampling("grid", 0, n + 1, False, SPACE.default({}))
    return [
        {
            "source_sweep": "earlier",
            "source_trial": f"{number:04}",
            "assignment": assignment,
            "values": {METRIC: sign * noise("worth", assignment)},
        }
        for number, assignment in enumerate(sampling.grid(SPACE).assignments(n + 1, seed=0)[1:])
    ]


def test_priors_are_trials_of_the_study_and_not_of_the_sweep(tmp_path):
    sweeper = drive(Sweeper(tmp_path / "journal.jsonl", n_trials=2, priors=told(3)))
    sweep = sweeper.journal.sweep
    study = study_of(sweep, SPACE, optuna.samplers.RandomSampler())
    assert [trial.params for trial in study.trials[:3]] == [prior["assignment"] for prior in told(3)]
    assert [trial.value for trial in study.trials[:3]] == [prior["values"][METRIC] for prior in told(3)]
    assert {trial.state for trial in study.trials[:3]} == {TrialState.COMPLETE}
    assert (len(study.trials), len(sweep.trials)) == (5, 2)
    assert sweep.trials["0000"].assignment == SPACE.default({})


def test_with_priors_tpe_does_not_start_at_random_and_asks_as_one_study_that_holds_them(tmp_path):
    def asks(name, priors):
        return assignments(drive(Sweeper(tmp_path / name, n_trials=2, priors=priors)).journal)

    sampling = Sampling("tpe", 0, 2, False, SPACE.default({}))
    one = optuna.create_study(direction="maximize", sampler=new_sampler(sampling, SPACE, 1))
    for prior in told(12):
        one.add_trial(
            optuna.create_trial(
                params=prior["assignment"],
                distributions=distributions(SPACE, prior["assignment"]),
                value=prior["values"][METRIC],
            )
        )
    default = drive(Sweeper(tmp_path / "default", n_trials=1)).journal.sweep.trials["0000"]
    params = {"params": default.assignment, "distributions": distributions(SPACE, default.assignment)}
    one.add_trial(optuna.create_trial(**params, value=default.last[METRIC]))
    warm = asks("warm", told(12))
    assert warm == [SPACE.default({}), suggest_trial(one.ask(), SPACE)]
    assert warm[1] != asks("cold", ())[1]
    assert warm[1] != asks("reversed", told(12, sign=-1.0))[1]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_default_goes_first_unless_a_prior_has_exactly_it(tmp_path, sampler):
    known = [{**told(1)[0], "assignment": SPACE.default({})}]
    first = assignments(drive(Sweeper(tmp_path / "j", n_trials=1, sampler=sampler, priors=known)).journal)[0]
    assert first != SPACE.default({})
    first = assignments(drive(Sweeper(tmp_path / "k", n_trials=1, sampler=sampler, priors=told(1))).journal)[0]
    assert first == SPACE.default({})


# --- several metrics --------------------------------------------------------------------------------------------------


def test_of_several_metrics_optuna_is_told_all_of_completed_trials_and_none_of_pruned_ones():
    told = ToldSweep({METRIC: "max", "val/kl": "min"})
    ends = [
        ({METRIC: 1.0, "val/kl": 2.0}, "completed"),
        ({METRIC: 1.0, "val/kl": math.nan}, "completed"),
        ({METRIC: 1.0}, "completed"),
        ({METRIC: 0.5, "val/kl": 3.0}, "pruned"),
    ]
    default, sweep = SPACE.default({}), told.sweep
    for number, (metrics, reason) in enumerate(ends):
        told.ask(Suggestion(default, {}))
        told.report(f"{number:04}", metrics, reason=reason)
    study = study_of(sweep, SPACE, optuna.samplers.RandomSampler())
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED, TrialState.PRUNED]
    assert not any(trial.intermediate_values for trial in study.trials), "Optuna's TPE raises on them"
    assert study.trials[0].values == [1.0, 2.0]
    for sampler in SAMPLERS:
        assert suggest(sweep, SPACE, Sampling(sampler, 0, 12, False, default)).assignment


# --- grid -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_grid_is_handed_out_once_whatever_runs_at_once_and_then_the_sweep_ends(tmp_path, concurrency):
    sweeper = Sweeper(tmp_path / "journal.jsonl", n_trials=64, sampler="grid", concurrency=concurrency)
    drive(sweeper, next_one=lambda n: n - 1)
    drawn = assignments(sweeper.journal)
    grid = Sampling("grid", 0, 64, False, SPACE.default({})).grid(SPACE)
    assert len(drawn) == len({json.dumps(assignment) for assignment in drawn}) == grid.n_points < 64
    assert sweeper.handing_out.next_trial() == Searcher.FINISHED
    assert drawn[0] == SPACE.default({})


# --- traps ------------------------------------------------------------------------------------------------------------


def stock_search():
    """OptunaSearch with one trial asked for, and its study as Optuna's own interface shows it."""
    storage = optuna.storages.InMemoryStorage()
    searcher = OptunaSearch({"x": FloatDistribution(0, 1)}, metric=METRIC, mode="max", storage=storage, seed=0)
    searcher.suggest("t")
    return searcher, optuna.load_study(study_name="optuna", storage=storage)


def test_trap_02_pruned_trials_are_told_to_optuna_as_complete(tmp_path, tune_loop):
    searcher, study = stock_search()
    searcher.on_trial_complete("t", {METRIC: 0.1, "training_iteration": 1})  # as Tune calls it after ASHA's STOP
    assert (study.trials[0].state, study.trials[0].value) == (TrialState.COMPLETE, 0.1)

    loop = tune_loop(
        tmp_path / "j", Asha(RUNGS, 3, "max"), lambda number, epoch: (0.9, 0.1)[number],
        n_trials=2, epochs=EPOCHS, concurrency=2,
    )  # fmt: skip
    loop.fill()
    assert [loop.tell(trial, 1) for trial, _ in loop.running] == [True, False]
    LaneSearcher(None).on_trial_complete("tune's id", {METRIC: 0.1, "training_iteration": 1})
    told = study_of(loop.journal.sweep, parse_space("lr"), optuna.samplers.RandomSampler()).trials[1]
    assert (told.state, told.intermediate_values) == (TrialState.PRUNED, {1: 0.1})


def test_trap_03_nan_at_completion_leaves_the_trial_running_for_ever(tmp_path):
    searcher, study = stock_search()
    searcher.on_trial_complete("t", {METRIC: math.nan, "training_iteration": EPOCHS})
    assert study.trials[0].state == TrialState.RUNNING

    sweeper = Sweeper(tmp_path / "journal.jsonl", n_trials=1)
    (given,) = sweeper.handed_out()
    for epoch in range(1, EPOCHS):
        sweeper.tell(given["trial"], epoch, float(epoch))
    assert not sweeper.tell(given["trial"], EPOCHS, math.nan)
    (told,) = study_of(sweeper.journal.sweep, SPACE, optuna.samplers.RandomSampler()).trials
    assert (told.state, told.intermediate_values) == (TrialState.PRUNED, {})


def stopped_by_stock(arrivals):
    scheduler = ASHAScheduler(time_attr="epoch", metric=METRIC, mode="max", grace_period=1, max_t=9, reduction_factor=3)
    trials = {name: SimpleNamespace(trial_id=name) for name, _ in arrivals}
    for trial in trials.values():
        scheduler.on_trial_add(None, trial)
    results = [(name, {"epoch": 1, METRIC: value}) for name, value in arrivals]
    return {name for name, r in results if scheduler.on_trial_result(None, trials[name], r) == TrialScheduler.STOP}


def test_trap_09_same_seed_concurrency_2_stops_different_trials(tmp_path):
    """Exact is each decision given the order of arrivals, which the journal keeps; at concurrency 1 the whole sweep."""
    arrivals = [("good", 2.0), ("bad", 1.0)]
    assert stopped_by_stock(arrivals) != stopped_by_stock(arrivals[::-1])

    def sweep(name, next_one, concurrency):
        return drive(Sweeper(tmp_path / name, concurrency=concurrency), next_one=next_one).journal

    journals = [sweep("first", lambda n: 0, 2), sweep("last", lambda n: n - 1, 2)]
    assert decisions(journals[0]) != decisions(journals[1])
    for i, journal in enumerate(journals):
        replay = Sweeper(tmp_path / f"replay{i}")
        for event in lines_of(journal.events)[1:]:
            if event["event"] == "ask":
                replay.journal.append(new_event("ask", **{name: event[name] for name in ASKED}))
            else:
                replay.tell(event["trial"], event["epoch"], event["metrics"].get(METRIC, math.nan))
        assert decisions(replay.journal) == decisions(journal)
        assert replay.journal.sweep.rungs == fold(lines_of(journal.events)).rungs

    once, again = sweep("once", lambda n: 0, 1), sweep("again", lambda n: 0, 1)
    assert record(once) == record(again)
    assert {trial.stop_reason for trial in once.sweep.trials.values()} == {"completed", "pruned", "diverged"}
