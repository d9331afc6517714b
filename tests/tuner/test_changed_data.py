"""A data file that was written anew under its name is noticed wherever numbers on it would be set beside others."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from events import parsed

import tuner
from trainables.config.paths import parse_config, plain
from trainables.errors import ConfigError, UserError
from trainables.identity import Identity, versions
from trainables.worker.results import write_results
from tuner.cli.tables import exported
from tuner.comparison.finished_sweeps import read_finished_sweeps
from tuner.reports.sweeps_page import compare_finished_sweeps
from tuner.running.single_run import make_ready, read_config, retrain
from tuner.sweeps.journal import Journal, bytes_of
from tuner.sweeps.origins import other_origin
from tuner.sweeps.status import known_sweep
from tuner.tracking.best import best
from tuner.tracking.identity_tags import identity_of, identity_tags
from tuner.tracking.mlflow_store import Tag, find_runs, open_client
from tuner.tracking.origin import Origin, parted
from tuner.tracking.projection import Projection

LR = {"space": {"lr.base": {"float": [1e-3, 1e-2], "log": True}}, "scheduler.kind": "none", "config.batch_size": 8}


def save(path, seed):
    np.save(path, np.random.default_rng(seed).normal(size=(60, 4, 4)).astype(np.float32))


@pytest.fixture
def data(tmp_path):
    """The path of a data set; data(seed) writes it anew, of the same shape."""
    path = tmp_path / "x.npy"
    save(path, 0)
    return path


def run(sweeps, name, data, **paths):
    return sweeps.run(name, **{**LR, "config.data.name": str(data), **paths})


def digests(sweeps, name):
    return known_sweep(sweeps.storage, name).digests["data"]


def forget(sweeps, name):
    """Make a journal one from before there were digests."""
    events = [
        {key: value for key, value in event.items() if key not in ("data", "code", "changed", "crc")}
        for event in sweeps.events(name)
    ]
    sweeps.journal(name).write_bytes(bytes_of(events))


# --- resume -----------------------------------------------------------------------------------------------------------


def test_a_resume_on_other_data_is_refused_and_names_both(sweeps, data):
    run(sweeps, "s", data)
    (first,) = digests(sweeps, "s")
    save(data, 1)
    before = sweeps.journal("s").read_bytes()
    with pytest.raises(UserError) as error:
        sweeps.resume("s", more_trials=1)
    second = sweeps.plan("t", **LR, **{"config.data.name": str(data)}).facts.digest
    assert str(error.value) == (
        f"sweep s cannot go on: the data x.npy are not those it had (digest {second} here, {first} there); put back "
        "what it had, or go on anyway with --allow-changed"
    )
    assert error.value.exit_code == 2
    assert sweeps.journal("s").read_bytes() == before
    save(data, 0)
    sweeps.resume("s", more_trials=1)
    assert digests(sweeps, "s") == [first]


@pytest.mark.parametrize("space", [LR["space"], "geco+lr"])  # κ is measured on the data
def test_it_is_allowed_once_and_recorded_in_journal_and_tags(space, sweeps, data, uri):
    run(sweeps, "s", data, space=space)
    (first,) = digests(sweeps, "s")
    save(data, 1)
    sweeps.resume("s", more_trials=1, allow_changed=True)
    sweep = known_sweep(sweeps.storage, "s")
    _, second = sweep.digests["data"]
    (resumed,) = [event for event in sweeps.events("s") if event["event"] == "resume"]
    assert resumed["data"] == second
    assert resumed["changed"] == [f"the data x.npy are not those it had (digest {second} here, {first} there)"]
    assert [trial.data for trial in sweep.trials.values()] == [[first]] * 4 + [[second]]
    sweeps.resume("s", more_trials=1)  # these are its data now
    save(data, 0)
    with pytest.raises(UserError, match=rf"digest {first} here, {second} there"):
        sweeps.resume("s", more_trials=1)

    Projection(open_client(uri), "vae-tuner").project(parsed(sweeps.events("s")))
    runs = {run.data.tags.get(Tag.TRIAL): run.data.tags for run in find_runs(open_client(uri), "1", "")}
    assert runs[None][Tag.DATA] == f"{first}, {second}"
    assert runs[None][Tag.CHANGED] == resumed["changed"][0]
    assert {trial: tags[Tag.DATA] for trial, tags in runs.items() if trial} == {
        **{f"000{number}": first for number in range(4)},
        **{f"000{number}": second for number in (4, 5)},
    }
    assert json.loads(runs["0000"][Tag.VERSIONS]) == versions()


def test_a_trial_that_was_cut_between_two_data_sets_says_both(sweeps, data):
    run(sweeps, "s", data, **{"search.trials": 1})
    sweeps.cut("s", 3)
    save(data, 1)
    sweeps.resume("s", allow_changed=True)
    sweep = known_sweep(sweeps.storage, "s")
    assert sweep.trials["0000"].data == sweep.digests["data"]
    assert sweep.trials["0000"].identity.data == ", ".join(sweep.digests["data"])


def test_a_sweep_from_before_there_were_digests_goes_on_and_has_one_then(sweeps, data):
    run(sweeps, "s", data)
    forget(sweeps, "s")
    save(data, 1)
    sweeps.resume("s", more_trials=1)
    sweep = known_sweep(sweeps.storage, "s")
    assert [bool(trial.data) for trial in sweep.trials.values()] == [False] * 4 + [True]
    save(data, 2)
    with pytest.raises(UserError, match="--allow-changed"):
        sweeps.resume("s", more_trials=1)


def test_other_versions_are_said_and_not_refused(sweeps, data, monkeypatch):
    run(sweeps, "s", data)
    monkeypatch.setitem(versions(), "torch", "9.0.0")
    notes = []

    def shown(plan, sweep, uri):
        notes.extend(plan.notes)
        raise RuntimeError("seen")

    with pytest.raises(RuntimeError, match="seen"):
        sweeps.resume("s", more_trials=1, progress=shown)
    assert (
        f"torch is 9.0.0 here and was {sweeps.events('s')[0]['versions']['torch'].partition('+')[0]} there" in notes[0]
    )


# --- warm start -------------------------------------------------------------------------------------------------------


def test_what_a_sweep_knows_of_other_data_is_not_learned_from(sweeps, data):
    run(sweeps, "old", data)
    (first,) = digests(sweeps, "old")
    save(data, 1)
    paths = {**LR, "config.data.name": str(data), "search.warm_start": ["old"]}
    with pytest.raises(ConfigError) as error:
        sweeps.plan("new", **paths)
    assert str(error.value).startswith("search.warm_start: the data x.npy are not those of sweep old (digest ")
    assert first in str(error.value)
    assert str(error.value).endswith("; leave old out, or learn from it anyway with --allow-changed")
    assert not sweeps.journal("new").exists()


def test_it_is_allowed_and_stands_in_the_header(sweeps, data):
    from tuner.planning.plans import make_plan
    from tuner.running.driver import run_sweep

    run(sweeps, "old", data)
    save(data, 1)
    refused = {**LR, "config.data.name": str(data), "search.warm_start": []}
    spec = sweeps.plan("new", **refused).spec
    spec = spec.model_copy(update={"search": spec.search.model_copy(update={"warm_start": ("old",)})})
    plan = make_plan(spec, sweeps.data_dir, allow_changed=True)
    assert len(plan.priors) == 4
    assert plan.changed[0] in plan.notes[-1]
    run_sweep(plan)
    assert known_sweep(sweeps.storage, "new").changed == list(plan.changed)
    sweeps.cut("new", 2)
    sweeps.resume("new")  # it was allowed when it began


@pytest.mark.parametrize("change", ["unknown", "another name"])
def test_a_sweep_of_unknown_data_is_learned_from_and_one_on_another_set_passed_over(change, sweeps, data, tmp_path):
    run(sweeps, "old", data, **{"config.model.sigma": 1.0})
    if change == "unknown":
        forget(sweeps, "old")
    save(data if change == "unknown" else tmp_path / "y.npy", 1)
    name = str(data if change == "unknown" else tmp_path / "y.npy")
    plan = sweeps.plan(
        "new", **{**LR, "config.data.name": name, "config.model.sigma": 1.0, "search.warm_start": ["old"]}
    )
    assert len(plan.priors) == (4 if change == "unknown" else 0)
    assert plan.changed == ()


# --- rankings ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def ranked(uri, written_journal):
    """ranked({sweep: digest of its data}, {sweep: digests of models}) → a store with them, the later the better."""

    def make(data, code=None):
        for n, (name, digest) in enumerate(data.items()):
            journal = written_journal(name)
            journal.events[0] |= {"data": digest, "code": (code or {}).get(name, {})}
            journal.trial("0000", [float(n)], "completed")
            Projection(open_client(uri), "vae-tuner").project(parsed(journal.events))
        return uri

    return make


def test_sweeps_on_other_data_are_not_ranked_together(ranked):
    uri = ranked({"a": "1" * 16, "b": "2" * 16})
    with pytest.raises(UserError) as error:
        best(uri)
    assert str(error.value) == (
        f"trials that differ in their data (by digest {'1' * 16} in a, {'2' * 16} in b) cannot be ranked together; "
        "choose a sweep with --sweep, or rank them anyway with --allow-changed"
    )
    assert [row.sweep for row in best(uri, sweep=["a"])] == ["a"]
    assert [row.sweep for row in best(uri, top=2, allow_changed=True)] == ["b", "a"]


def test_sweeps_of_unknown_data_are_ranked_with_any(ranked):
    assert [row.sweep for row in best(ranked({"a": None, "b": "2" * 16, "c": None}), top=3)] == ["c", "b", "a"]


def test_digests_are_compared_thing_by_thing():
    same = {"a": {"data": "1", "n:f": "2"}, "b": {"data": "1", "m:g": "3"}, "c": {"n:f": "2", "data": ""}}
    assert other_origin(same) is None
    assert other_origin({**same, "d": {"n:f": "9"}}) == "the code of n:f (by digest 2 in c, 9 in d)"
    assert other_origin({**same, "d": {"data": "1, 4"}}) == "their data (by digest 1 in b, 1, 4 in d)"
    assert other_origin({}) is None


def test_sweeps_side_by_side_are_on_the_same_data_or_say_that_they_are_not(sweeps, data, tmp_path):
    run(sweeps, "a", data)
    save(data, 1)
    run(sweeps, "b", data)
    with pytest.raises(UserError, match=r"sweeps: they differ in their data \(by digest .* with --allow-changed$"):
        read_finished_sweeps(sweeps.storage, ["a", "b"])
    shown = compare_finished_sweeps(["a", "b"], sweeps.storage, tmp_path / "reports", allow_changed=True)
    assert set(shown.beside.differing["data"].values()) == {*digests(sweeps, "a"), *digests(sweeps, "b")}
    assert "--allow-changed" in shown.page.read_text()


# --- train and load ---------------------------------------------------------------------------------------------------

TINY = {"model": {"hidden": [4], "latent_dim": 2}, "epochs": 1, "batch_size": 8, "threads": 1, "device": "cpu"}


@pytest.mark.parametrize("identity", [Identity(), Identity("1" * 16), Identity("1" * 16, {"n:f": "2"}, versions())])
def test_tags_give_an_identity_back(identity):
    assert identity_of(identity_tags(identity), "n:f") == identity


def test_a_tag_that_somebody_wrote_over_is_unknown():
    assert identity_of({Tag.VERSIONS: "{", Tag.DATA: "1"}, "n:f") == Identity("1")


def test_an_export_knows_its_data_and_is_the_configuration(ranked, tmp_path):
    (row,) = best(ranked({"a": "1" * 16}))
    (tmp_path / "best.yaml").write_text(exported(row))
    config, origin = parted(read_config(tmp_path / "best.yaml"))
    assert config == plain(row.config)
    assert origin.identity == row.identity == Identity("1" * 16)
    _, bare = parted(yaml.safe_load(exported(replace(row, identity=Identity()))))
    assert bare == replace(origin, identity=Identity())


def test_training_again_on_other_data_says_so_first(uri, data, tmp_path):
    config = parse_config({**TINY, "data": {"name": str(data)}})
    recorded = make_ready(config, tmp_path).trainer.identity
    origin, told = Origin("s", "id-of-s", "0000", identity=recorded), []
    same = retrain(config, uri, chosen_data_dir=tmp_path, on_notes=told.append, origin=origin)
    assert not any("digest" in note for notes in told for note in notes)
    tags = open_client(uri).get_run(same.run_id).data.tags
    assert identity_of(tags, "mlp") == recorded
    save(data, 1)
    with pytest.warns(UserWarning, match=r"the data x\.npy are not those of the recorded run \(digest"):
        tuner.train({**plain(config), **origin.section()}, tracking_uri=uri, data_dir=tmp_path)
    retrain(config, uri, chosen_data_dir=tmp_path, on_notes=told.append, origin=origin)
    assert f"{recorded.data} there" in told[1][0]


def test_a_model_says_where_its_data_are_others_now(data, tmp_path, monkeypatch):
    monkeypatch.setenv("VAE_TUNER_DATA", str(tmp_path / "root"))
    config = parse_config({**TINY, "data": {"name": str(data)}})
    trainer = make_ready(config).trainer
    trainer.train_epoch()
    write_results(tmp_path / "made", trainer)
    model = tmp_path / "made" / "checkpoint.safetensors"
    tuner.load(model)  # warnings are errors here
    save(data, 1)
    with pytest.warns(UserWarning, match=r"the data x\.npy are not those of the trained model"):
        tuner.load(model)
    data.unlink()
    tuner.load(model)


def test_a_large_file_is_not_read_for_a_sentence(data, tmp_path, monkeypatch):
    from trainables.data import readers

    monkeypatch.setattr(readers, "AT_HAND_BYTES", 100)
    assert readers.digest_at_hand(str(data), tmp_path) is None
    known = readers.digest(str(data), tmp_path)
    assert readers.digest_at_hand(str(data), tmp_path) == known
    for name in ("digits", str(tmp_path), str(tmp_path / "none.npy"), "s3://bucket/.data/0123456789abcdef/x.npy"):
        assert readers.digest_at_hand(name, tmp_path) is None


def test_a_journal_that_is_open_knows_its_data(sweeps, data):
    run(sweeps, "s", data)
    journal = Journal.open(sweeps.journal("s"))
    journal.close()
    assert journal.sweep.identity == Identity(*digests(sweeps, "s"), versions=sweeps.events("s")[0]["versions"])
