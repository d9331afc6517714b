"""What cannot be answered, and what cannot be ranked together, is named."""

import sqlite3
import threading

import pytest
from stores import project

from trainables.errors import UserError
from tuner.tracking.best import best, front
from tuner.tracking.mlflow_store import Tag, ensure_experiment, open_client


def test_a_missing_database_is_not_made(tmp_path):
    with pytest.raises(UserError, match=f"no MLflow database at {tmp_path}/mlflow.db.*--tracking-uri"):
        best(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"experiment": "vae-tunr"}, "experiment 'vae-tunr'.*did you mean `vae-tuner`"),
        ({"sweep": ["t"]}, "sweep 't'.*known: s"),
        ({"method": "gecko"}, "method 'gecko'.*did you mean `geco`"),
        ({"dataset": "mnist"}, "dataset 'mnist'.*known: digits"),
        ({"metric": "val/nonsense"}, "metric 'val/nonsense' cannot be ranked by"),
        ({"metric": "val/mse"}, "metric 'val/mse' was not recorded.*recorded: epoch, val/elbo_cal"),
        ({"metric": "test/elbo"}, "test data must not select"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(question, message, swept):
    with pytest.raises(UserError, match=message):
        best(swept, **question)


def test_an_experiment_without_a_sweep_is_named(uri):
    ensure_experiment(open_client(uri), "vae-tuner")
    with pytest.raises(UserError, match="'vae-tuner' holds no sweep"):
        best(uri)


def test_sweeps_by_different_metrics_need_one_named(uri, written_journal):
    by_elbo, by_nll = written_journal("a", "val/elbo"), written_journal("b", "val/mse", "min")
    for journal in (by_elbo, by_nll):
        journal.ask("0000")
        journal.report("0000", 1, {"val/elbo": -3.0, "val/mse": 2.0}, "completed")
    project(uri, by_elbo, by_nll)
    with pytest.raises(UserError, match=r"val/elbo, val/mse.*--metric"):
        best(uri)
    assert {row.sweep for row in best(uri, metric="val/mse", top=2)} == {"a", "b"}
    assert best(uri, sweep=["b"])[0].metric == "val/mse"


def test_an_elbo_on_two_data_sets_is_not_ranked_together(uri, written_journal):
    digits, mnist = written_journal("a"), written_journal("b")
    digits.trial("0000", [-1.0], "completed")
    mnist.trial("0000", [-100.0], "completed", {"data": {"name": "mnist"}})
    project(uri, digits, mnist)
    with pytest.raises(UserError, match=r"digits, mnist.*--dataset"):
        best(uri)
    assert [row.dataset for row in best(uri, dataset="mnist", top=5)] == ["mnist"]


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ({"binarize": "soft"}, {"binarize": "dynamic"}, r"data\.binarize \(dynamic or fixed in b, soft in a\)"),
        ({"binarize": "none"}, {"binarize": "fixed"}, r"data\.binarize \(dynamic or fixed in b, none in a\)"),
        (
            {"likelihood": "gaussian"},
            {"likelihood": "bernoulli"},
            r"data\.likelihood \(bernoulli in b, gaussian in a\)",
        ),
        ({"split_seed": 0}, {"split_seed": 1}, r"data\.split_seed \(0 in a, 1 in b\)"),
        ({"image_size": None}, {"image_size": 32}, r"data\.image_size \(32 in b, none in a\)"),
    ],
)
def test_other_validation_data_or_likelihoods_are_not_ranked_together(one, other, message, uri, written_journal):
    for name, data in (("a", one), ("b", other)):
        journal = written_journal(name, "val/elbo")
        journal.trial("0000", [-1.0], "completed", {"data": data})
        project(uri, journal)
    for question in ({}, {"metric": "val/elbo"}):
        with pytest.raises(UserError, match=rf"differ in {message} cannot be ranked together; .*--sweep"):
            best(uri, **question)
    with pytest.raises(UserError, match="cannot be ranked together"):
        front(uri, ["val/elbo", "val/mse"])
    assert [row.sweep for row in best(uri, sweep=["b"])] == ["b"]


def test_likelihoods_of_other_numbers_of_samples_are_not_ranked_together(uri, written_journal):
    for name, samples in (("a", 1), ("b", 1000)):
        journal = written_journal(name, "val/nll", "min")
        journal.ask("0000", {"metrics": {"nll_samples": samples}})
        journal.report("0000", 1, {"val/nll": 7.0, "val/elbo": -8.0}, "completed")
        project(uri, journal)
    with pytest.raises(UserError, match=r"differ in metrics\.nll_samples \(1 in a, 1000 in b\)"):
        best(uri)
    assert len(best(uri, metric="val/elbo", top=5)) == 2


@pytest.mark.parametrize(
    ("one", "other"), [({"n_train": 100}, {"n_train": 200}), ({"binarize": "fixed"}, {"binarize": "dynamic"})]
)
def test_what_leaves_the_validation_data_alone_is_ranked_together(one, other, uri, written_journal):
    for name, data in (("a", one), ("b", other)):
        journal = written_journal(name, "val/elbo")
        journal.trial("0000", [-1.0], "completed", {"data": data})
        project(uri, journal)
    assert len(best(uri, top=5)) == 2


def test_sweeps_of_a_version_that_did_not_record_their_data_are_ranked_as_before(uri, written_journal):
    for name, binarize in (("a", "soft"), ("b", "dynamic")):
        journal = written_journal(name, "val/elbo")
        journal.trial("0000", [-1.0], "completed", {"data": {"binarize": binarize}})
        project(uri, journal)
    client = open_client(uri)
    for row in [*best(uri, sweep=["a"]), *best(uri, sweep=["b"])]:
        client.delete_tag(client.get_run(row.run_id).data.tags[Tag.PARENT], Tag.MEASURED)
    assert len(best(uri, top=5)) == 2


@pytest.mark.parametrize("content", ["empty", "foreign", "damaged"])
def test_a_file_that_is_no_mlflow_database_stays_as_it_is(content, tmp_path):
    path = tmp_path / "other.db"
    path.touch()
    if content != "empty":
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE experiments (name TEXT)")
        database.commit()
        database.close()
    if content == "damaged":
        path.write_bytes(path.read_bytes()[:50] + bytes(3000))
    before = path.read_bytes()
    fault = "is damaged" if content == "damaged" else "is not an MLflow database; pass the store of the sweep"
    with pytest.raises(UserError, match=rf"other\.db {fault}"):
        best(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_database_that_another_process_holds_for_a_moment_is_waited_for(swept):
    writer = sqlite3.connect(swept.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.5, writer.rollback)
    release.start()
    assert best(swept)[0].trial == "0003"
    release.join()
    writer.close()
