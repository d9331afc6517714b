"""What was deleted in MLflow, or edited there, of a sweep that was sent: it comes back whole, or is told."""

import shutil
from pathlib import Path

import pytest
from events import parsed
from stores import execute, runs_of, snapshot

from tuner.tracking.best import best
from tuner.tracking.mlflow_store import Tag, open_client
from tuner.tracking.projection import Projection

BEST = "0000"


def delete_run(name):
    def lose(uri):
        open_client(uri).delete_run(runs_of(uri)[name].info.run_id)

    return lose


def delete_all(uri):
    for run in runs_of(uri).values():
        open_client(uri).delete_run(run.info.run_id)


def delete_rows(table, where="", *values):
    def lose(uri):
        run_id = runs_of(uri)[BEST].info.run_id
        execute(uri, (f"DELETE FROM {table} WHERE run_uuid = ? {where}", (run_id, *values)))

    return lose


def delete_metrics(uri):
    delete_rows("metrics")(uri)
    delete_rows("latest_metrics")(uri)


def delete_tag(name, tag):
    return lambda uri: open_client(uri).delete_tag(runs_of(uri)[name].info.run_id, tag)


def edit_tag(name, tag, value):
    return lambda uri: open_client(uri).set_tag(runs_of(uri)[name].info.run_id, tag, value)


def end_run(uri):
    open_client(uri).set_terminated(runs_of(uri)[BEST].info.run_id, "FAILED", 1_700_000_010_100)


def folder_of(uri, name):
    return Path(runs_of(uri)[name].info.artifact_uri)


def delete_files(uri):
    shutil.rmtree(folder_of(uri, "0003"))


def edit_config(uri):
    (folder_of(uri, BEST) / "config.yaml").write_text("epochs: 3\n")


LOSSES = {
    "the best run": delete_run(BEST),
    "another run": delete_run("0001"),
    "the sweep's own run": delete_run("sweep"),
    "all runs": delete_all,
    "parameters": delete_rows("params"),
    "one parameter": delete_rows("params", "AND key = ?", "epochs"),
    "metrics": delete_metrics,
    "an epoch amid others": delete_rows("metrics", "AND step = ?", 1),
    "the tag of the configuration": delete_tag(BEST, Tag.CONFIG),
    "the link to the sweep": delete_tag("0001", Tag.PARENT),
    "an edited outcome": edit_tag(BEST, Tag.OUTCOME, "infeasible"),
    "an edited status": end_run,
    "the sweep's counts": delete_tag("sweep", Tag.STOP_REASONS),
    "the sweep's metric": delete_tag("sweep", Tag.METRIC),
    "files": delete_files,
    "an edited configuration": edit_config,
}


@pytest.fixture
def sent(uri, eventful_journal, tmp_path):
    """A sweep of which MLflow has all but the last trial and the end; its events."""
    trial = tmp_path / "trials" / BEST
    trial.mkdir(parents=True)
    (trial / "samples.png").write_bytes(b"png")
    project(uri, eventful_journal.events[:-4], tmp_path)
    return eventful_journal.events


def project(uri, events, tmp_path):
    """As `sync` does; returns the projection."""
    projection = Projection(open_client(uri), "vae-tuner", tmp_path / "trials")
    projection.project(parsed(events)[projection.resume(parsed(events), every_epoch=True) :])
    projection.check_files()
    assert projection.unsent_files == {}
    return projection


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("n_more", [0, 4], ids=["nothing new", "more to come"])
def test_what_is_lost_comes_back(lose, n_more, sent, uri, new_store, tmp_path):
    undisturbed = new_store("undisturbed")
    events = sent[: len(sent) - 4 + n_more]
    project(undisturbed, events, tmp_path)
    lose(uri)
    project(uri, events, tmp_path)
    assert snapshot(uri) == snapshot(undisturbed)
    (row,) = best(uri)
    assert (row.trial, row.config) == (BEST, best(undisturbed)[0].config)
    again = project(uri, events, tmp_path)
    assert (again.mended, again.notes, again.check_files()) == (0, [], 0)


@pytest.mark.parametrize("name", [BEST, "sweep"])
def test_a_run_that_is_restored_beside_its_successor_is_told_and_counts_once(name, sent, uri, tmp_path):
    deleted = runs_of(uri)[name].info.run_id
    delete_run(name)(uri)
    project(uri, sent, tmp_path)
    made = runs_of(uri)[name].info.run_id
    open_client(uri).restore_run(deleted)
    told = " ".join(project(uri, sent, tmp_path).notes)
    assert "has two runs in MLflow" in told
    assert deleted in told
    assert made in told
    assert [row.trial for row in best(uri, top=5)] == ["0000", "0006"]


def test_a_parameter_that_was_edited_is_told_and_never_used(sent, uri, tmp_path):
    before = best(uri)[0].config
    run_id = runs_of(uri)[BEST].info.run_id
    execute(uri, ("UPDATE params SET value = '0.5' WHERE run_uuid = ? AND key = 'lr.base'", (run_id,)))
    delete_rows("params", "AND key = ?", "epochs")(uri)
    (note, mended) = project(uri, sent, tmp_path).notes
    assert "of trial 0000 has parameters that were edited, which MLflow keeps (lr.base)" in note
    assert mended == "the run of trial 0000 lacked a part of its record: parameters"
    assert best(uri)[0].config == before
    assert runs_of(uri)[BEST].data.params["epochs"] == "40"


def test_runs_of_an_earlier_version_are_given_its_tags_and_nothing_is_called_lost(sent, uri, tmp_path):
    for name in runs_of(uri):
        if name != "sweep":
            delete_tag(name, Tag.CONFIG)(uri)
    n_trials = len(runs_of(uri)) - 1
    (note,) = project(uri, sent, tmp_path).notes
    assert note == f"the runs of {n_trials} trials are of an earlier version and were given the tags {Tag.CONFIG}"
    assert all(Tag.CONFIG in run.data.tags for name, run in runs_of(uri).items() if name != "sweep")


def test_a_store_put_back_to_an_older_copy_in_mid_sweep_is_made_whole(uri, new_store, eventful_journal, tmp_path):
    """Whoever goes on writing into it never learns of it, and sets the mark at the end."""
    undisturbed, events = new_store("undisturbed"), eventful_journal.events
    project(undisturbed, events, tmp_path)
    database, copy = Path(uri.removeprefix("sqlite:///")), tmp_path / "copy.db"
    running = Projection(open_client(uri), "vae-tuner", tmp_path / "trials")
    running.project(parsed(events[:3]))
    shutil.copy(database, copy)
    assert {event["event"] for event in events[3:5]} == {"report"}
    running.project(parsed(events[3:5]))
    shutil.copy(copy, database)
    running.project(parsed(events[5:]))
    assert snapshot(uri) != snapshot(undisturbed)
    project(uri, events, tmp_path)
    assert snapshot(uri) == snapshot(undisturbed)
    assert project(uri, events, tmp_path).mended == 0
