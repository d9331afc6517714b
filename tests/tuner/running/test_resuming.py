"""What a sweep goes on by is its own journal; what it cannot go on by is refused in one sentence."""

import json
import sys
from dataclasses import replace

import pytest
from events import asked, happened

from search_spaces.domains import Float
from trainables.errors import UserError
from tuner.running.driver import header_of
from tuner.running.resuming import resumed_plan
from tuner.sweeps.journal import Journal
from tuner.sweeps.state import fold


def plan_again(sweeps, name, **options):
    """The plan a sweep would go on by, and its tracking URI."""
    journal = Journal.open(sweeps.journal(name))
    journal.close()
    given = {"more_trials": 0, "models": (), "tracking_uri": None, "offline": True, **options}
    return resumed_plan(journal.sweep, sweeps.storage, str(sweeps.storage / "s"), *given.values(), sweeps.data_dir)


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid", "qmc"])
def test_a_sweep_cut_at_any_line_ends_as_it_would_have(sampler, sweeps):
    sweeps.run("s", **{"search.sampler": sampler})
    sweeps.check_cut_anywhere("s")


def test_the_plan_is_the_one_it_began_with(sweeps):
    began = sweeps.plan("s", **{"space": "geco-vs-annealing", "search.seed": 3, "tracking.tags": {"team": "vision"}})
    sweeps.run("s", **{"space": "geco-vs-annealing", "search.seed": 3, "tracking.tags": {"team": "vision"}})
    sweeps.cut("s", 3)
    plan, uri = plan_again(sweeps, "s")
    header = sweeps.events("s")[0]
    again = header_of(plan, "s", uri)
    assert {name: again[name] for name in again if name not in ("sweep_id", "spec")} == {
        name: header[name] for name in again if name not in ("sweep_id", "spec")
    }
    assert plan.spec.model_copy(update={"tracking": began.spec.tracking}) == began.spec
    assert plan.spec.tracking.tags == {"team": "vision"}


@pytest.mark.parametrize("space", ["lr", "geco", "optimizer"])
def test_a_sweep_from_before_a_default_changed_goes_on_by_its_own_learning_rates(space, sweeps):
    """Its trials were scaled linearly under Adam, which its spec did not say."""
    sweeps.run("s", **{"space": space, "config.batch_size": 128, "config.lr.scaling": "linear"})
    journal = Journal.open(sweeps.journal("s"))
    journal.close()
    del journal.sweep.header["spec"]["config"]["lr"]
    plan, _ = resumed_plan(journal.sweep, sweeps.storage, str(sweeps.storage / "s"), 1, (), None, True, sweeps.data_dir)
    for trial in journal.sweep.trials.values():
        assert plan.trial(trial.assignment)[0] == trial.config
        assert trial.config["lr"]["scaling"] == "linear"


def test_a_sweep_whose_first_draw_was_refused_goes_on(sweeps):
    """As a warm-started one may begin: what was drawn is written down, and is no configuration."""
    sweeps.run("s", **{"space": "lr", "config.batch_size": 128, "config.lr.scaling": "linear"})
    journal = Journal.open(sweeps.journal("s"))
    journal.close()
    del journal.sweep.header["spec"]["config"]["lr"]
    first, second, *_ = journal.sweep.trials.values()
    first.stop_reason, first.kind, first.config = "error", "refused", {"epochs": 0.5}
    plan, _ = resumed_plan(journal.sweep, sweeps.storage, str(sweeps.storage / "s"), 1, (), None, True, sweeps.data_dir)
    assert plan.trial(second.assignment)[0] == second.config


def test_priors_that_are_partly_written_are_completed(sweeps):
    sweeps.run("old", **{"search.trials": 6, "scheduler.kind": "none"})
    sweeps.run("new", **{"search.warm_start": ["old"], "search.sampler": "tpe"})
    whole = sweeps.events("new")
    n_priors = sum(event["event"] == "prior" for event in whole)
    assert n_priors == 6
    for n in range(1, n_priors + 3):
        sweeps.cut("new", n)
        sweeps.resume("new")
        assert happened(sweeps.events("new")) == happened(whole)


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_trials_are_added_to_those_there_were(sampler, sweeps):
    sweeps.run("s", **{"space": "batch-size+lr", "search.sampler": sampler, "search.trials": 4})
    before = sweeps.events("s")
    result = sweeps.resume("s", more_trials=3)
    after = sweeps.events("s")
    assert after[: len(before)] == before
    assert asked(after)[:4] == asked(before)
    assert fold(after).planned == 7
    assert (sum(result.stop_reasons.values()), fold(after).finished) == (7, "completed")
    assert len({str(assignment) for assignment in asked(after)}) == 7
    sweeps.resume("s", more_trials=2)
    assert len(asked(sweeps.events("s"))) == 9


# --- refused ----------------------------------------------------------------------------------------------------------


def refused(sweeps, name, **options):
    """Why a resume is refused; nothing is written."""
    before = sweeps.journal(name).read_bytes() if sweeps.journal(name).exists() else None
    with pytest.raises(UserError) as error:
        sweeps.resume(name, **options)
    if before is not None:
        assert sweeps.journal(name).read_bytes() == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_finished_sweep_names_the_ways_on(sweeps):
    sweeps.run("s")
    assert refused(sweeps, "s") == (
        "sweep s is finished; see it with `vae-tuner best --sweep s`, or add trials: vae-tuner resume s --trials +10"
    )


def test_a_spent_budget_stays_spent(sweeps):
    sweeps.run("s", **{"budget.epochs": 4})
    message = "the budget of sweep s is spent; start another sweep that learns from it: vae-tuner sweep --warm-start s"
    assert refused(sweeps, "s") == refused(sweeps, "s", more_trials=3) == message
    sweeps.cut("s", -1)
    assert refused(sweeps, "s") == message


def test_brackets_of_hyperband_take_no_more_trials(sweeps):
    sweeps.run("s", **{"scheduler.kind": "hyperband", "scheduler.grace": 1})
    assert refused(sweeps, "s", more_trials=1).startswith("--trials: the brackets of sweep s are made for 4 trials; ")


def test_a_grid_that_is_exhausted_gets_no_more(sweeps):
    sweeps.run("s", **{"search.sampler": "grid"})
    assert refused(sweeps, "s", more_trials=5) == (
        "--trials: the grid of sweep s has 4 points and no more; start another sweep with a finer one: "
        "vae-tuner sweep --sampler grid --trials 9"
    )


def test_no_grid_is_finer_than_all_combinations(sweeps):
    sweeps.run("s", **{"space": {"batch_size": {"choice": [32, 64]}}, "search.sampler": "grid"})
    assert refused(sweeps, "s", more_trials=5) == (
        "--trials: sweep s has nothing left to try: all 2 combinations of the space have been tried; start another "
        "over a wider space"
    )


@pytest.mark.parametrize("name", ["t", "../s", "s/../s", "..", ".", "/etc", "", "s\n", "-s"])
def test_only_names_of_sweeps_in_the_storage_are_known(name, sweeps):
    sweeps.run("s")
    assert refused(sweeps, name).startswith(f"name: no sweep {name!r} in {sweeps.storage}")


def test_a_journal_without_a_whole_line_is_to_be_removed(sweeps):
    sweeps.run("s")
    sweeps.cut("s", 0)
    assert refused(sweeps, "s").startswith("the journal holds nothing yet: remove the sweep with `vae-tuner rm`")


def test_a_space_or_rungs_that_would_differ_are_named(sweeps, monkeypatch):
    sweeps.run("s")
    sweeps.cut("s", -2)
    wider = {"lr.base": Float(1e-5, 1.0, log=True)}
    plan = sweeps.plan("s")
    changed = [
        ("space", {"space": plan.space.extended("", wider, {})}),
        ("rungs", {"rungs": (2,)}),
    ]
    for name, update in changed:
        other = replace(plan, **update)
        monkeypatch.setattr("tuner.running.resuming.make_plan", lambda *_, other=other, **options: other)
        version = sweeps.events("s")[0]["versions"]["vae-tuner"]
        assert refused(sweeps, "s") == (
            f"sweep s cannot go on: its {name} would differ; are the data, or the version (then {version}), still "
            "those it began with?"
        )


# --- tracking ---------------------------------------------------------------------------------------------------------


def test_the_store_is_the_sweeps_own_unless_another_is_named(sweeps, monkeypatch):
    sweeps.run("s", **{"tracking.uri": "sqlite:///own.db"})
    sweeps.cut("s", 3)
    own = f"sqlite:///{sweeps.storage.parent}/own.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:5000")
    assert plan_again(sweeps, "s")[1] == own
    assert plan_again(sweeps, "s", tracking_uri="http://other:5000")[1] == "http://other:5000"


@pytest.mark.parametrize(
    "uri", ["http://me:secret@host:5000", "https://secret@host", "postgresql://host/db?user=me&password=secret"]
)
def test_a_password_is_not_written_and_asked_for_again(uri, sweeps, monkeypatch):
    sweeps.run("s", **{"tracking.uri": uri})
    written = [path.read_bytes() for path in sweeps.storage.rglob("*") if path.is_file()]
    assert not any(b"secret" in content for content in written)
    sweeps.cut("s", 3)
    assert refused(sweeps, "s") == (
        "the tracking URI of sweep s held a password, which its journal does not keep; pass it again with "
        "--tracking-uri, or set MLFLOW_TRACKING_URI"
    )
    assert plan_again(sweeps, "s", tracking_uri=uri)[1] == uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert plan_again(sweeps, "s")[1] == uri
    sweeps.resume("s")


def test_a_path_with_an_at_sign_is_no_password(sweeps):
    sweeps.run("s", **{"tracking.uri": "sqlite:///me@home.db"})
    assert sweeps.events("s")[0]["tracking_uri"] == f"sqlite:///{sweeps.storage.parent}/me@home.db"


# --- a user's code ----------------------------------------------------------------------------------------------------

SPACES = {
    "fixed": {"config.model.kind": "{kind}", "space": "lr"},
    "searched": {"space": {"model.kind": {"choice": ["mlp", "{kind}"]}}},
    "used": {"space": {"use": ["lr"], "model.kind": "{kind}"}},
}


@pytest.mark.parametrize("paths", SPACES.values(), ids=SPACES)
def test_a_users_code_is_named_again(paths, sweeps, nets, monkeypatch):
    kind = f"{nets}:make"
    sweeps.run("s", **json.loads(json.dumps(paths).replace("{kind}", kind)))
    sweeps.cut("s", 3)
    monkeypatch.delitem(sys.modules, nets)
    message = f"this sweep runs the code of {kind}; if you trust it, name it: --model {kind}"
    assert refused(sweeps, "s") == refused(sweeps, "s", model="other:make") == message
    assert nets not in sys.modules
    assert plan_again(sweeps, "s", models=[kind])[0].spec.name == "s"


def test_every_model_of_a_space_is_named_again(sweeps, nets):
    kinds = [f"{nets}:make", f"{nets}:pretrained"]
    sweeps.run("s", space={"model.kind": {"choice": kinds}})
    sweeps.cut("s", 3)
    listed = " --model ".join(kinds)
    assert refused(sweeps, "s", model=kinds[0]).endswith(f"if you trust it, name it: --model {listed}")
    assert plan_again(sweeps, "s", models=kinds)[0].spec.name == "s"
