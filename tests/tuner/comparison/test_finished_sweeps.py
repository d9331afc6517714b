import pytest

from trainables.errors import UserError
from tuner.comparison.finished_sweeps import read_finished_sweeps
from tuner.comparison.statistics import expected_best

UNPRUNED = {"scheduler.kind": "none", "search.trials": 8}


@pytest.fixture
def beside(sweeps):
    """beside(paths of the second spec) → sweeps `a` and `b`, `a` random and unpruned."""

    def make(**paths):
        sweeps.run("a", **UNPRUNED)
        sweeps.run("b", **{**UNPRUNED, **paths})
        return read_finished_sweeps(sweeps.storage, ["a", "b"])

    return make


def test_each_sweep_has_its_best_trial_and_all_that_differs_is_named(beside):
    found = beside(**{"search.seed": 7, "config.batch_size": 16})
    assert [found.best(name).id for name in ("a", "b")] == ["0002", "0002"]
    assert found.differing == {
        "search.seed": {"a": "0", "b": "7"},
        "config.batch_size": {"a": "–", "b": "16"},
    }


def test_the_document_is_plain_data(beside, tmp_path):
    found = beside().document(tmp_path / "index.html")
    assert [entry["name"] for entry in found["sweeps"]] == ["a", "b"]
    assert found["sweeps"][0]["stop_reasons"] == {"completed": 8}
    assert found["sweeps"][0]["epochs"] == 24
    assert found["differing"] == {}


def test_progress_ends_at_the_best_and_counts_every_epoch_once(beside, sweeps):
    found = beside(**{"scheduler.kind": "asha"})
    for name, steps in found.progress.items():
        epochs, values = zip(*steps, strict=True)
        assert list(epochs) == sorted(epochs)
        assert list(values) == sorted(values)
        assert values[-1] == found.best(name).last[found.metric]
        assert epochs[-1] == found.sweeps[name].epochs


def test_the_best_of_n_is_of_random_trials_only(beside):
    """The first trial is the default, which nobody drew."""
    found = beside(**{"search.sampler": "tpe"})
    values = [trial.last[found.metric] for trial in found.sweeps["a"].trials.values()][1:]
    assert found.expected("a") == expected_best(values, values, 20)
    assert found.expected("a")[-1].mean == pytest.approx(max(values))
    assert found.expected("b") == []


@pytest.mark.parametrize("paths", [{"scheduler.kind": "asha"}, {"search.points": [{"lr.base": 1e-3}] * 3, "space": {}}])
def test_trials_that_were_pruned_or_given_are_no_random_sample(paths, beside):
    assert beside(**paths).expected("b") == []


@pytest.mark.parametrize(
    ("paths", "named"),
    [
        ({"config.data.split_seed": 1}, r"differ in data.split_seed \(0 and 1\)"),
        ({"config.data.n_train": 100}, r"differ in data.n_train \(1199 and 100\)"),
        ({"search.metric": "val/mse"}, r"differ in the metric \(val/elbo_cal and val/mse\)"),
    ],
)
def test_numbers_that_mean_different_things_do_not_stand_side_by_side(paths, named, beside):
    with pytest.raises(UserError, match=f"^sweeps: a and b {named}, so that their numbers mean different things; name"):
        beside(**paths)


@pytest.mark.parametrize("names", [["a"], ["a", "a"], []])
def test_two_sweeps_are_needed_each_once(names, sweeps):
    with pytest.raises(UserError, match=r"is not allowed; name two or more finished sweeps, each once"):
        read_finished_sweeps(sweeps.storage, names)


def test_a_sweep_that_has_not_ended_or_is_not_there_is_one_sentence(sweeps):
    sweeps.run("a")
    sweeps.run("b")
    sweeps.cut("b", -1)
    with pytest.raises(UserError, match=r"^sweeps: b has not ended; end it by `vae-tuner resume b`, or leave it out"):
        read_finished_sweeps(sweeps.storage, ["a", "b"])
    with pytest.raises(UserError, match="no sweep 'c' in"):
        read_finished_sweeps(sweeps.storage, ["a", "c"])
