"""What is ranked, by whatever epoch, is the same for the journal, the sampler, MLflow and the next sweep."""

from dataclasses import replace

import optuna
import pytest
import yaml
from events import parsed
from stores import execute

from trainables.config.paths import parse_config
from trainables.errors import ConfigError, UserError
from trainables.files.trial_files import BEST_NAME, FILE_NAME
from trainables.ranking import Ranking
from tuner.cli.tables import exported
from tuner.planning.given_trials import NO_SPACE
from tuner.planning.warm_start import values_or_reason
from tuner.search.optuna_study import study_of
from tuner.sweeps.spec import parse_spec
from tuner.sweeps.state import fold
from tuner.sweeps.status import ranked_trials, standing
from tuner.tracking.best import best, front
from tuner.tracking.mlflow_store import open_client
from tuner.tracking.origin import parted
from tuner.tracking.projection import Projection
from tuner.tracking.ranked_epoch import RankedEpoch, split_ranked
from tuner.tracking.run_artifacts import checkpoint

CURVES = {
    "0000": [1.0, 9.0, 3.0, 2.0],
    "0001": [1.0, 2.0, 4.0, 5.0],
    "0002": [2.0, 6.0, 7.0, 1.0],
}
RANKED = {
    "last": (["0001", "0000", "0002"], [5.0, 2.0, 1.0], [4, 4, 4]),
    "best": (["0000", "0002", "0001"], [9.0, 7.0, 5.0], [2, 3, 4]),
    "mean-2": (["0001", "0002", "0000"], [4.5, 4.0, 2.5], [4, 4, 4]),
    "mean-9": (["0002", "0000", "0001"], [4.0, 3.75, 3.0], [4, 4, 4]),
}
RANKINGS = pytest.mark.parametrize("ranking", RANKED)


@pytest.fixture
def overfitted(written_journal):
    """overfitted(ranking, name) → a sweep whose trials are best in mid-training; KL and error move with the value."""

    def make(ranking, name="s"):
        journal = written_journal(name)
        spec = {"search": {"trials": 3, **({"ranking": ranking} if ranking else {})}}
        journal.events[0]["spec"] = spec
        for trial, values in CURVES.items():
            journal.ask(trial)
            for epoch, value in enumerate(values, start=1):
                metrics = {"val/elbo_cal": value, "val/kl": 10 * value, **({"val/mse": value} if epoch > 3 else {})}
                journal.report(trial, epoch, metrics, "completed" if epoch == len(values) else None)
        journal.trial("0003", [99.0], "diverged")
        journal.trial("0004", [0.0, 50.0, -50.0], "pruned")
        journal.add("finish", reason="completed")
        return journal

    return make


def project(uri, *journals):
    for journal in journals:
        Projection(open_client(uri), "vae-tuner").project(parsed(journal.events))


@RANKINGS
def test_the_journals_ranking(ranking, overfitted):
    sweep = fold(overfitted(ranking).events)
    trials, values, epochs = RANKED[ranking]
    found = ranked_trials(sweep)
    assert [trial.id for trial in found] == trials
    assert [trial.ranked["val/elbo_cal"] for trial in found] == values
    assert [trial.ranked_epoch for trial in found] == [trial.ranked["epoch"] for trial in found] == epochs
    assert [trial.ranked["val/kl"] for trial in found] == [10 * value for value in values], "of the same epochs"
    assert standing(sweep, "s").best_value == values[0]


@RANKINGS
def test_mlflow_gives_the_journals_ranking_without_a_history(ranking, overfitted, uri, monkeypatch):
    journal = overfitted(ranking)
    project(uri, journal)
    monkeypatch.setattr(type(open_client(uri)), "get_metric_history", None)
    rows, known = best(uri, top=9), ranked_trials(fold(journal.events))
    assert [(row.trial, row.metrics) for row in rows] == [(trial.id, trial.ranked) for trial in known]
    assert {row.ranking for row in rows} == {ranking}
    narrowed = best(uri, top=9, where="val/kl > 45 and val/elbo_cal < 8")
    expected = [trial.id for trial in known if trial.ranked["val/kl"] > 45 and trial.ranked["val/elbo_cal"] < 8]
    assert [row.trial for row in narrowed] == expected
    assert front(uri, ["val/elbo_cal", "val/kl"]).rows[0].trial == known[0].id


@RANKINGS
def test_reading_in_pages_ranks_by_the_same_epoch(ranking, overfitted, uri, monkeypatch):
    monkeypatch.setattr("tuner.tracking.best.PAGE", 1)
    project(uri, overfitted(ranking))
    assert [row.trial for row in best(uri)] == RANKED[ranking][0][:1]


def test_pruned_trials_are_ranked_as_their_sweep_ranks(overfitted, uri):
    project(uri, overfitted("best"))
    row = best(uri, include_pruned=True)[0]
    assert (row.trial, row.metrics["val/elbo_cal"], row.metrics["epoch"]) == ("0004", 50.0, 2.0)


@RANKINGS
def test_the_sweeps_own_run_names_the_best(ranking, overfitted, uri):
    project(uri, overfitted(ranking))
    (parent,) = open_client(uri).search_runs(["1"], "tags.`vae_tuner.kind` = 'sweep'")
    trials, values, _ = RANKED[ranking]
    assert parent.data.tags["vae_tuner.best_trial"] == trials[0]
    assert float(parent.data.tags["vae_tuner.best_value"]) == parent.data.metrics["val/elbo_cal"] == values[0]


def test_sending_it_again_changes_nothing(overfitted, uri):
    journal = overfitted("best")
    project(uri, journal)
    again = Projection(open_client(uri), "vae-tuner")
    again.resume(parsed(journal.events))
    assert (again.mended, again.notes) == (0, [])
    assert best(uri)[0].metrics["val/elbo_cal"] == 9.0


def test_a_sweep_of_before_ranks_by_the_last(overfitted, uri):
    project(uri, overfitted(None))
    assert [(row.trial, row.ranking) for row in best(uri, top=1)] == [("0001", "last")]


def test_sweeps_that_rank_otherwise_are_not_ranked_together(overfitted, uri):
    project(uri, overfitted("best", "one"), overfitted(None, "other"))
    with pytest.raises(UserError, match=r"differ in search.ranking \(best by val/elbo_cal in one, last in other\)"):
        best(uri)
    assert best(uri, sweep=["one"])[0].metrics["val/elbo_cal"] == 9.0


def test_the_best_epochs_of_sweeps_that_searched_by_other_metrics_are_not_ranked_together(overfitted, uri):
    other = overfitted("best", "other")
    other.events[0] |= {"metric": "val/kl", "direction": "min"}
    project(uri, overfitted("best", "one"), other)
    with pytest.raises(UserError, match=r"\(best by val/elbo_cal in one, best by val/kl in other\)"):
        best(uri, metric="val/elbo_cal")


@RANKINGS
def test_the_sampler_is_told_what_is_ranked(ranking, overfitted):
    sweep = fold(overfitted(ranking).events)
    study = study_of(sweep, NO_SPACE, optuna.samplers.RandomSampler())
    told = {trial.number: trial.value for trial in study.get_trials() if trial.value is not None}
    assert told == {int(trial): value for trial, value in zip(*RANKED[ranking][:2], strict=True)}


def test_no_warm_up_and_no_mid_cycle_is_the_best(written_journal):
    journal = written_journal()
    journal.events[0]["spec"] = {"search": {"ranking": "best"}}
    values = [9.0, 8.0, 7.0, 1.0, 2.0, 5.0, 4.0, 3.0]
    journal.trial("0000", values, "completed", {"epochs": 8, "beta": {"kind": "linear", "warmup": 0.5}})
    journal.trial("0001", values, "completed", {"epochs": 8, "beta": {"kind": "cyclical", "period": 0.5}})
    journal.trial("0002", values, "completed", {"epochs": 8})
    trials = fold(journal.events).trials
    assert [trial.ranked_epoch for trial in trials.values()] == [6, 8, 1]


def test_a_geco_trial_that_never_met_its_constraint_is_ranked_by_its_last_epoch(written_journal):
    journal = written_journal()
    journal.events[0]["spec"] = {"search": {"ranking": "best"}}
    for trial, violations in (("0000", (1.0, 1.0, 1.0)), ("0001", (1.0, -1.0, 0.0))):
        journal.ask(trial, {"objective": {"kind": "geco", "kappa": 0.2}})
        for epoch, violation in enumerate(violations, start=1):
            metrics = {"val/elbo_cal": -epoch, "geco/constraint": violation}
            journal.report(trial, epoch, metrics, "completed" if epoch == 3 else None)
    assert [trial.ranked_epoch for trial in fold(journal.events).trials.values()] == [3, 2]


@pytest.mark.parametrize("value", ["mean-0", "mean", "mean--1", "mean-5 ", "first", "mean-1.5", "mean-٣"])
def test_a_ranking_that_is_none_is_refused_with_what_is(value):
    with pytest.raises(ConfigError, match=r"search.ranking: .* is not allowed; allowed: last, best, or mean-K"):
        parse_spec({"search": {"ranking": value}})


@RANKINGS
def test_a_ranking_is_read_as_written(ranking):
    assert parse_spec({"search": {"ranking": ranking}}).search.ranking == ranking


# --- the configuration, and the model ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("ranking", "epoch"), [("best", 2), ("mean-2", 4)])
def test_an_export_says_which_epoch_counts_and_is_read_back(ranking, epoch, overfitted, uri):
    project(uri, overfitted(ranking))
    row = best(uri)[0]
    tree, found = split_ranked(parted(yaml.safe_load(exported(row)))[0])
    assert parse_config(tree) == row.config
    assert found == RankedEpoch(ranking, "val/elbo_cal", epoch, row.config.epochs)


def test_the_epoch_is_the_best_by_what_the_sweep_searched_by_whatever_is_asked_for(overfitted, uri):
    project(uri, overfitted("best"))
    row = best(uri, metric="val/kl")[0]
    assert (row.trial, row.epoch, row.metrics["val/kl"]) == ("0001", 4, 50.0)
    found = split_ranked(parted(yaml.safe_load(exported(row)))[0])[1]
    assert found == RankedEpoch("best", "val/elbo_cal", 4, row.config.epochs)


@pytest.mark.parametrize(("ranking", "whole"), [("best", False), ("mean-2", True), ("last", True)])
def test_the_best_epoch_alone_is_none_of_another_budget(ranking, whole):
    assert RankedEpoch(ranking, "val/elbo", 4, 8).is_of(parse_config({"epochs": 9})) == whole


def test_an_export_by_the_last_epoch_is_as_it_was(overfitted, uri):
    project(uri, overfitted("last"))
    assert "ranked:" not in exported(best(uri)[0])


@pytest.mark.parametrize(
    "section",
    [
        83,
        {"epoch": 83},
        {"ranking": "best", "metric": "m", "epoch": 151, "epochs": 150},
        {"ranking": "best", "metric": "m", "epoch": "83", "epochs": 150},
        {"ranking": "mean-x", "metric": "m", "epoch": 83, "epochs": 150},
        {"ranking": "first", "metric": "m", "epoch": 83, "epochs": 150},
        {"ranking": "best", "metric": 1, "epoch": 83, "epochs": 150},
    ],
)
def test_a_section_that_is_none_is_refused_with_what_is(section):
    with pytest.raises(ConfigError, match=r"^ranked: .* is not allowed; allowed: {ranking: best"):
        split_ranked({"ranked": section})


@pytest.mark.parametrize("kept", [True, False])
def test_the_model_of_a_run_is_that_of_its_best_epoch_where_that_was_kept(kept, overfitted, uri, tmp_path):
    journal = overfitted("best")
    for name in ("config.yaml", FILE_NAME, *([BEST_NAME] if kept else [])):
        (tmp_path / "trials" / "0000").mkdir(parents=True, exist_ok=True)
        (tmp_path / "trials" / "0000" / name).write_text(name)
    Projection(open_client(uri), "vae-tuner", tmp_path / "trials").project(parsed(journal.events))
    (tmp_path / "found").mkdir()
    found = checkpoint(uri, best(uri)[0].run_id, tmp_path / "found")
    assert found.read_text() == (BEST_NAME if kept else FILE_NAME)


def test_an_earlier_sweep_counts_by_the_new_ones_ranking(overfitted):
    trials = fold(overfitted("last").events).trials.values()
    again = [replace(trial, ranking=Ranking("best", "val/elbo_cal")) for trial in trials]
    told = [values_or_reason(trial, ("val/elbo_cal",)) for trial in again]
    assert told == [*({"val/elbo_cal": value} for value in (9.0, 5.0, 7.0)), {}, "not completed"]


def test_a_trial_that_patience_has_ended_is_a_result_for_its_best_epoch_alone(overfitted):
    (trial, *_) = fold(overfitted("best").events).trials.values()
    assert trial.epochs < trial.config["epochs"]
    assert (
        values_or_reason(replace(trial, ranking=Ranking("last", "val/elbo_cal")), ("val/elbo_cal",)) == "not completed"
    )


def test_of_several_seeds_an_export_says_the_epoch_of_the_one_that_it_is_of(written_journal, uri):
    """Their metrics are means, the epoch among them."""
    journal = written_journal()
    journal.events[0] |= {"spec": {"search": {"ranking": "best", "trials": 1}}, "seeds": [0, 1]}
    for repeat, values in enumerate(([1.0, 9.0, 3.0], [1.0, 2.0, 3.0])):
        trial = f"0000-{repeat}"
        config = parse_config({"seed": repeat}).model_dump(mode="json")
        fields = {"number": 0, "repeat": repeat, "assignment": {}, "config": config, "method": "elbo"}
        journal.add("ask", trial=trial, **fields)
        for epoch, value in enumerate(values, start=1):
            journal.report(trial, epoch, {"val/elbo_cal": value}, "completed" if epoch == 3 else None)
    project(uri, journal)
    (row,) = best(uri)
    (known,) = ranked_trials(fold(journal.events))
    assert row.metrics == known.ranked == {"epoch": 2.5, "val/elbo_cal": 6.0}
    assert split_ranked(parted(yaml.safe_load(exported(row)))[0])[1].epoch == known.ranked_epoch == 2
    assert "# val/elbo_cal: 6.0, the mean over seeds 0, 1\n" in exported(row)


def test_seeds_are_those_that_were_trained_whatever_mlflows_parameters_say(overfitted, uri):
    project(uri, overfitted("last"))
    execute(uri, ("UPDATE params SET value = 'seven' WHERE key = ?", ("seed",)))
    assert [row.seeds for row in best(uri, top=3)] == [[0]] * 3
