"""A sweep as an Optuna study: the same trials, states, values and best, in memory and in a file."""

import json
import shlex

import optuna
import pytest
from optuna.trial import TrialState

import tuner
from trainables.errors import ConfigError, UserError
from tuner.cli import run as run_command
from tuner.search.finished_study import finished_study, write_study
from tuner.sweeps.journal import bytes_of
from tuner.sweeps.spec import parse_spec
from tuner.sweeps.status import known_sweep, ranked_trials

SWEEPS = {
    "one": {},
    "smallest": {"search.metric": "val/kl"},
    "conditions": {"space": "geco-vs-annealing+lr", "search.trials": 8, "scheduler.kind": "none"},
    "lists": {"space": {"model.hidden": {"choice": [[8], [8, 4]]}}, "search.trials": 2},
    "repeats": {"search.repeats": 2, "scheduler.kind": "none"},
    "points": {"search.points": [{"lr.base": 0.001}, {"lr.base": 0.002}], "search.sampler": "grid"},
}

FIELDS = (
    *("number", "state", "values", "params", "distributions", "intermediate_values", "user_attrs"),
    *("datetime_start", "datetime_complete"),
)


@pytest.fixture(params=SWEEPS)
def name(request, sweeps):
    sweeps.run(request.param, **SWEEPS[request.param])
    return request.param


def same(one, other):
    """Whether two studies say the same of their trials."""

    def said(study):
        return [{name: getattr(trial, name) for name in FIELDS} for trial in study.get_trials(deepcopy=False)]

    facts = [(s.study_name, s.directions, s.metric_names, s.user_attrs, said(s)) for s in (one, other)]
    return facts[0] == facts[1]


def test_its_trials_are_the_configurations_and_its_best_is_theirs(name, sweeps):
    study, sweep = tuner.study(name, storage=sweeps.storage), known_sweep(sweeps.storage, name)
    assert [trial.user_attrs["trials"] for trial in study.trials] == [
        [run.id for run in trial.runs or (trial,)] for trial in sweep.configurations.values()
    ]
    assert study.metric_names == list(sweep.metrics)
    assert {run for trial in study.trials for run in trial.user_attrs["trials"]} == sweep.trials.keys()
    best = ranked_trials(sweep)[0]
    assert (study.best_trial.user_attrs["trial"], study.best_value) == (best.id, best.ranked[study.metric_names[0]])
    for trial in study.trials:
        assert len(trial.intermediate_values) == len(sweep.configurations[trial.user_attrs["trial"]].reports)


def test_a_file_holds_the_same_study(name, sweeps, tmp_path):
    study = finished_study(sweeps.storage, name)
    write_study(study, tmp_path / "study.db")
    url = f"sqlite:///{tmp_path / 'study.db'}"
    assert same(optuna.load_study(study_name=name, storage=url), study)
    assert [file.name for file in tmp_path.iterdir() if "study" in file.name] == ["study.db"]


def keep(journal, sweeps, **header):
    """Put a written journal where its sweep's is."""
    spec = parse_spec({"name": "s", "search": {"trials": 7}}).model_dump(mode="json")
    searched = {"space": {}, "epochs": 2, "rungs": [], "scheduler": {"kind": "none"}, "spec": spec}
    journal.events[0] |= {**searched, **header}
    (sweeps.storage / "s").mkdir(parents=True)
    sweeps.journal("s").write_bytes(bytes_of(journal.events))


def test_several_metrics_are_values_by_name(written_journal, sweeps):
    journal, ends = written_journal(), {"0000": (-3.0, 2.0), "0001": (-4.0, 1.0), "0002": (-5.0, 3.0)}
    for trial, (elbo, kl) in ends.items():
        journal.ask(trial)
        journal.report(trial, 1, {"val/elbo_cal": elbo, "val/kl": kl}, "completed")
    keep(journal, sweeps, metrics={"val/elbo_cal": "max", "val/kl": "min"})
    study = tuner.study("s", storage=sweeps.storage)
    assert study.metric_names == ["val/elbo_cal", "val/kl"]
    assert {trial.user_attrs["trial"]: tuple(trial.values) for trial in study.trials} == ends
    assert {trial.user_attrs["trial"] for trial in study.best_trials} == {"0000", "0001"}
    assert not any(trial.intermediate_values for trial in study.trials)


def test_what_completed_without_a_result_has_failed(written_journal, sweeps):
    journal = written_journal()
    journal.trial("0000", [-3.0, float("nan")], "completed")
    journal.trial("0001", [-3.0, -2.0], "completed")
    keep(journal, sweeps)
    study = tuner.study("s", storage=sweeps.storage)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]


def test_a_configuration_lasts_from_its_first_seeds_ask_to_its_last_seeds_report(sweeps):
    sweeps.run("s", **SWEEPS["repeats"])
    times = {}
    for event in (event for event in sweeps.events("s") if event["event"] in ("ask", "report")):
        times.setdefault(event["trial"][:4], []).append(event["t"])
    for trial in tuner.study("s", storage=sweeps.storage).trials:
        began, ended = trial.datetime_start.timestamp(), trial.datetime_complete.timestamp()
        of_all = times[trial.user_attrs["trial"][:4]]
        assert (began, ended) == pytest.approx((min(of_all), max(of_all)), abs=1e-5)


def test_every_stop_reason_has_a_state(eventful_journal, sweeps):
    keep(eventful_journal, sweeps)
    states = {trial.user_attrs["trial"]: trial.state for trial in tuner.study("s", storage=sweeps.storage).trials}
    assert states == {
        "0000": TrialState.COMPLETE,
        "0001": TrialState.PRUNED,
        "0002": TrialState.FAIL,
        "0003": TrialState.FAIL,
        "0004": TrialState.PRUNED,
        "0005": TrialState.RUNNING,
        "0006": TrialState.COMPLETE,
    }


def test_optunas_importances_take_it(sweeps):
    sweeps.run("s", **{"space": "lr", "search.trials": 8, "scheduler.kind": "none"})
    study = tuner.study("s", storage=sweeps.storage)
    searched = {path for trial in study.trials for path in trial.params}
    assert optuna.importance.get_param_importances(study).keys() == searched


@pytest.mark.parametrize("file", ["study", "study.zip"])
def test_a_name_that_is_not_of_sqlite_is_refused(sweeps, tmp_path, file):
    sweeps.run("s")
    with pytest.raises(ConfigError, match=r"must end in \.db"):
        write_study(tuner.study("s", storage=sweeps.storage), tmp_path / file)


def test_nothing_is_written_over_and_nothing_half(sweeps, tmp_path):
    sweeps.run("s")
    study, there = tuner.study("s", storage=sweeps.storage), tmp_path / "there.db"
    there.write_text("mine")
    with pytest.raises(UserError, match="exists; name another file"):
        write_study(study, there)
    assert there.read_text() == "mine"
    with pytest.raises(UserError, match="name a file in an existing folder"):
        write_study(study, tmp_path / "nowhere" / "a.db")


def test_the_command_writes_one_file(sweeps, monkeypatch, capsys, tmp_path):
    sweeps.run("s")

    def command(*words):
        monkeypatch.setattr("sys.argv", ["vae-tuner", "export", "s", "--storage", str(sweeps.storage), *words])
        return run_command()

    assert command("--optuna", "s.db", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == {"name": "s", "file": "s.db", "n_trials": 4}
    assert len(optuna.load_study(study_name="s", storage="sqlite:///s.db").trials) == 4
    for words in ((), ("s.zip", "--optuna", "t.db")):
        assert command(*words) == 2
        assert "give FILE.zip, or --optuna FILE.db" in capsys.readouterr().err
    assert command("--optuna", "my study.db") == 0
    printed = "".join(capsys.readouterr()).replace("\n", " ").partition("look at them with: ")[2]
    assert shlex.split(printed)[:2] == ["optuna-dashboard", "sqlite:///my study.db"]
    assert {file.name for file in tmp_path.iterdir() if file.is_file()} == {"s.db", "my study.db"}
