"""What an earlier sweep's trials are worth to a new one, and why those that are not used are not."""

from pathlib import Path

import pytest
from events import new_event, parsed

from trainables.config.paths import flatten, unflatten
from trainables.errors import ConfigError
from tuner.planning.plans import make_plan
from tuner.running.driver import header_of
from tuner.sweeps.events import EarlierTrial, JournalError
from tuner.sweeps.journal import JOURNAL, Journal
from tuner.sweeps.spec import parse_spec
from tuner.sweeps.status import ranked_trials
from tuner.tracking.projection import Projection

METRIC = "val/elbo_cal"


def plan_of(folder, data_dir, **changes):
    """A plan on the digits by path: space, config.epochs, search.warm_start …"""
    paths = {"storage": str(folder), "config.epochs": 4, "space": "geco+lr", **changes}
    return make_plan(parse_spec(unflatten(paths)), data_dir)


def assignment(kappa=0.15, lr=1e-3):
    return {"objective.kappa": kappa, "lr.base": lr}


@pytest.fixture
def earlier(tmp_path, vae_data_root):
    """Write a sweep as a driver does: earlier(name, trials, **changes), a trial being (assignment, reason, metrics)."""

    def write(name, trials, **changes):
        plan = plan_of(tmp_path, vae_data_root, name=name, **changes)
        (tmp_path / name).mkdir()
        journal = Journal.create(tmp_path / name / JOURNAL)
        journal.append(new_event("header", **header_of(plan, name, "sqlite:///x.db")))
        for number, (drawn, reason, metrics) in enumerate(trials):
            trial = f"{number:04}"
            config, method = plan.trial(drawn)
            fields = {"number": number, "assignment": drawn, "memory": {}, "config": config, "method": method}
            journal.append(new_event("ask", trial=trial, **fields))
            if reason in ("raised", "memory", "node"):
                journal.append(new_event("end", trial=trial, reason="error", error="", kind=reason))
                continue
            none = dict.fromkeys(("rung", "cutoff", "outcome", "checkpoint"))
            report = {"epoch": 4, "metrics": metrics, "decision": "stop", "reason": reason}
            journal.append(new_event("report", trial=trial, **report, **none))
        journal.close()

    return write


def note(plan):
    return [found for found in plan.notes if found.startswith("warm start: ")]


@pytest.mark.parametrize(("batch_size", "used"), [(32, "1 of 1"), (64, "0 of 1")])
def test_another_rule_for_batch_sizes_matters_where_the_batch_size_is_another(
    batch_size, used, earlier, tmp_path, vae_data_root
):
    shared = {"config.batch_size": batch_size}
    earlier("old", [(assignment(), "completed", {METRIC: 1.0})], **shared, **{"config.lr.scaling": "linear"})
    plan = plan_of(tmp_path, vae_data_root, **{**shared, "search.warm_start": ["old"]})
    skipped = "; skipped: 1 differ in lr.scaling" if used == "0 of 1" else ""
    assert note(plan) == [f"warm start: {used} trials of old used{skipped}"]


def test_trials_the_new_sweep_could_have_run_are_used_and_the_others_counted_by_reason(
    earlier, tmp_path, vae_data_root
):
    earlier(
        "old",
        [
            (assignment(0.15), "completed", {METRIC: 3.0}),
            (assignment(0.20), "completed", {METRIC: 4.0}),
            (assignment(0.13), "completed", {METRIC: 2.0}),
            (assignment(0.14), "completed", {METRIC: 2.0}),
            (assignment(0.15), "completed", {"val/mse": 2.0}),
            (assignment(0.15), "pruned", {METRIC: 5.0}),
        ],
    )
    space = {"use": ["geco", "lr"], "objective.kappa": {"float": [0.145, 0.2]}}
    plan = plan_of(tmp_path, vae_data_root, **{"space": space, "search.warm_start": ["old"]})
    assert note(plan) == [
        "warm start: 2 of 6 trials of old used; skipped: 2 outside objective.kappa, 1 without val/elbo_cal, "
        "1 not completed"
    ]
    assert list(plan.priors) == [
        EarlierTrial(source_sweep="old", source_trial=f"{n:04}", assignment=assignment(kappa), values={METRIC: value})
        for n, (kappa, value) in enumerate([(0.15, 3.0), (0.20, 4.0)])
    ]


def test_what_failed_by_itself_is_told_as_a_trial_without_values(earlier, tmp_path, vae_data_root):
    """But for want of memory, of which this machine may have more."""
    ends = ("diverged", "raised", "memory", "node", "pruned")
    earlier("old", [(assignment(0.13 + n / 100), end, {}) for n, end in enumerate(ends)])
    plan = plan_of(tmp_path, vae_data_root, **{"search.warm_start": ["old"]})
    assert note(plan) == ["warm start: 2 of 5 trials of old used, of which 2 failed; skipped: 3 not completed"]
    assert [(prior.source_trial, prior.values) for prior in plan.priors] == [("0000", {}), ("0001", {})]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"config.epochs": 5}, "differ in epochs"),
        ({"config.batch_size": 64}, "differ in batch_size"),
        ({"config.data.split_seed": 1}, "differ in data.split_seed"),
        ({"config.model.latent_dim": 4}, "differ in model.latent_dim"),
        ({"space": "lr"}, "differ in objective.kind"),
        ({"space": "geco-vs-annealing+clr"}, "outside lr.max"),
        ({"search.metric": ["val/elbo_cal", "val/kl"]}, "without val/kl"),
        ({"config.seed": 7}, None),
        ({"config.threads": 2}, None),
        ({"config.metrics.every": 3}, None),
        ({"space": "geco-vs-annealing+lr"}, None),
        ({"space": "lr", "config.objective.kind": "geco", "config.objective.kappa": 0.15}, None),
    ],
)
def test_a_trial_is_used_only_if_it_would_be_the_same_here(changes, reason, earlier, tmp_path, vae_data_root):
    earlier("old", [(assignment(), "completed", {METRIC: 3.0})])
    plan = plan_of(tmp_path, vae_data_root, **{**changes, "search.warm_start": ["old"]})
    used = f"skipped: 1 {reason}" if reason else ""
    assert note(plan) == [f"warm start: {0 if reason else 1} of 1 trials of old used" + ("; " + used if used else "")]
    for prior in plan.priors:
        assert flatten(plan.trial(prior.assignment)[0])["objective.kappa"] == 0.15


def test_several_sweeps_are_read_in_the_order_named_and_each_once(earlier, tmp_path, vae_data_root):
    for name, value in (("a", 1.0), ("b", 2.0)):
        earlier(name, [(assignment(), "completed", {METRIC: value})])
    plan = plan_of(tmp_path, vae_data_root, **{"search.warm_start": ["b", "a", "b"]})
    assert [prior.source_sweep for prior in plan.priors] == ["b", "a"]
    assert len(note(plan)) == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["odl"], "search.warm_start: no sweep 'odl' in {storage}; did you mean `old`?"),
        (["mine"], "search.warm_start: mine is this sweep itself; name an earlier one"),
        (
            ["../there/old"],
            "search.warm_start: ../there/old is a path; give the name of a sweep in {storage}, or that sweep's "
            "--storage",
        ),
    ],
)
def test_a_name_that_is_no_earlier_sweep_here_is_refused(names, message, earlier, tmp_path, vae_data_root):
    earlier("old", [])
    with pytest.raises(ConfigError) as error:
        plan_of(tmp_path, vae_data_root, **{"name": "mine", "search.warm_start": names})
    assert str(error.value) == message.format(storage=tmp_path)


def test_where_there_is_no_sweep_yet_that_is_said(tmp_path, vae_data_root):
    with pytest.raises(ConfigError, match=r"no sweep 'old' in .*; there is none yet$"):
        plan_of(tmp_path, vae_data_root, **{"search.warm_start": ["old"]})


def test_a_damaged_journal_is_named(earlier, tmp_path, vae_data_root):
    earlier("old", [(assignment(), "completed", {METRIC: 3.0})])
    path = Path(tmp_path / "old" / JOURNAL)
    path.write_bytes(path.read_bytes().replace(b"number", b"numbre", 1))
    with pytest.raises(JournalError, match=r"old/journal\.jsonl is damaged at byte"):
        plan_of(tmp_path, vae_data_root, **{"search.warm_start": ["old"]})


def test_priors_are_neither_ranked_nor_sent_to_mlflow(written_journal, uri):
    from tuner.sweeps.state import fold
    from tuner.tracking.mlflow_store import open_client

    journal = written_journal()
    prior = {"source_sweep": "old", "source_trial": "0009", "assignment": assignment(), "values": {METRIC: 99.0}}
    journal.add("prior", **prior)
    journal.trial("0000", [1.0], "completed")
    assert [trial.id for trial in ranked_trials(fold(journal.events))] == ["0000"]
    projection = Projection(open_client(uri), "vae-tuner")
    projection.project(parsed(journal.events))
    assert list(projection.run_ids()) == ["0000"]
