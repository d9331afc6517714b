"""A project folder that was moved or copied, store and sweeps with it: it goes on where it is, and nowhere else."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from stores import execute, runs_of, snapshot
from tracking_server import TrackingServer

import tuner
from trainables.errors import UserError
from tuner.cli.tables import exported
from tuner.planning.checks import examine
from tuner.sweeps.spec import parse_spec
from tuner.tracking.artifact_root import located
from tuner.tracking.best import best
from tuner.tracking.mlflow_store import open_client
from tuner.tracking.removal import remove_sweep
from tuner.tracking.store_checks import check_artifacts
from tuner.tracking.syncing import sync_sweep

ONLINE = {"tracking.offline": False, "scheduler.kind": "none", "search.trials": 2}


@pytest.fixture
def project(sweeps, tmp_path, migrated_database, monkeypatch):
    """project(name) → the sweeps of a folder of that name, which is the working directory from there on."""

    def enter(name):
        folder = tmp_path / name
        if not folder.exists():
            folder.mkdir()
            shutil.copy(migrated_database, folder / "mlflow.db")
        monkeypatch.chdir(folder)
        return replace(sweeps, storage=folder / "sweeps")

    return enter


@pytest.fixture
def old(project):
    """A project with a sweep `s` that MLflow has all of."""
    sweeps = project("old")
    assert sweeps.run("s", **ONLINE).unsent == 0
    return sweeps


def store(folder):
    return f"sqlite:///{folder}/mlflow.db"


def files_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_whole(folder):
    """All runs of a project have their files in it."""
    for name, run in runs_of(store(folder)).items():
        place = Path(run.info.artifact_uri)
        assert place.is_relative_to(folder / "mlruns")
        assert name == "sweep" or (place / "config.yaml").is_file()


def test_a_moved_project_goes_on_in_its_new_folder(old, project, tmp_path):
    (tmp_path / "old").rename(tmp_path / "new")
    new = project("new")
    assert new.run("after", **ONLINE).unsent == 0
    assert new.resume("s", more_trials=1, offline=False).unsent == 0
    assert sync_sweep(new.storage, "s") == 0
    assert not (tmp_path / "old").exists()
    check_whole(tmp_path / "new")
    assert [row.fault for row in best(store(tmp_path / "new"), top=10)] == [""] * 5


def test_a_file_in_the_place_of_the_old_folder_is_in_nobodys_way(old, project, tmp_path):
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "old").touch()
    new = project("new")
    assert new.run("blocked", **ONLINE).unsent == 0
    check_whole(tmp_path / "new")
    assert (tmp_path / "old").read_bytes() == b""


def test_what_is_asked_of_a_moved_project_is_found_and_changes_nothing(old, project, tmp_path):
    (tmp_path / "old").rename(tmp_path / "new")
    project("new")
    before = files_below(tmp_path / "new")
    (row,) = tuner.best(sweep="s")
    assert row.config is not None
    (finding,) = [each for each in examine(parse_spec({}), tmp_path) if each.check == "tracking"]
    assert finding.state == "warning"
    assert f"was moved or copied: the files of its runs were in {tmp_path}/old/mlruns/vae-tuner" in finding.says
    assert files_below(tmp_path / "new") == before
    assert not (tmp_path / "old").exists()


def test_training_again_in_a_moved_project_ends_with_its_model_there(old, project, vae_data_root, tmp_path):
    (tmp_path / "old").rename(tmp_path / "new")
    project("new")
    (row,) = tuner.best(sweep="s")
    (tmp_path / "s.yaml").write_text(exported(row))
    made = tuner.train(tmp_path / "s.yaml", settings={"epochs": 1}, data_dir=vae_data_root)
    assert tuner.load(made.run_id).config.epochs == 1
    assert not (tmp_path / "old").exists()
    check_whole(tmp_path / "new")


def test_a_copied_project_leaves_the_original_alone(old, project, tmp_path):
    shutil.copytree(tmp_path / "old", tmp_path / "copy")
    before, runs = files_below(tmp_path / "old"), snapshot(store(tmp_path / "old"))
    copy = project("copy")
    assert copy.resume("s", more_trials=2, offline=False).unsent == 0
    assert copy.run("another", **ONLINE).unsent == 0
    assert remove_sweep(copy.storage, "s", with_runs=True).runs == 5
    assert snapshot(store(tmp_path / "old")) == runs
    assert files_below(tmp_path / "old") == before
    check_whole(tmp_path / "copy")


@pytest.fixture
def shared(project, uri):
    """A project whose sweep `s` is in a store of all projects."""
    sweeps = project("old")
    assert sweeps.run("s", **ONLINE, **{"tracking.uri": uri}).unsent == 0
    return sweeps


def refused(action):
    with pytest.raises(
        UserError, match=r"sweep s in .*/copy/sweeps/s is a copy of the one in .*; go on there, or"
    ) as no:
        action()
    return str(no.value)


def test_a_copy_does_not_write_onto_the_runs_of_its_original(shared, project, uri, new_store, tmp_path):
    shutil.copytree(tmp_path / "old", tmp_path / "copy")
    before, copy = snapshot(uri), project("copy")
    assert f"{tmp_path}/old/sweeps/s, onto whose MLflow runs" in refused(lambda: copy.resume("s", more_trials=1))
    refused(lambda: sync_sweep(copy.storage, "s"))
    refused(lambda: sync_sweep(copy.storage, "s", uri))
    refused(lambda: remove_sweep(copy.storage, "s", with_runs=True))
    own = new_store("own")
    assert copy.resume("s", more_trials=1, offline=False, tracking_uri=own).unsent == 0
    assert len(runs_of(own)) == 4
    refused(lambda: sync_sweep(copy.storage, "s"))
    refused(lambda: copy.resume("s", more_trials=1, offline=False))
    assert sync_sweep(copy.storage, "s", own) == 0
    assert snapshot(uri) == before


def test_a_copy_may_have_a_database_of_its_own_where_the_originals_store_was_secret(
    shared, project, new_store, tmp_path
):
    shared.rewrite("s", lambda event: {**event, "tracking_uri": None})
    shutil.copytree(tmp_path / "old", tmp_path / "copy")
    copy, own = project("copy"), new_store("own")
    refused(lambda: sync_sweep(copy.storage, "s", "http://user:secret@127.0.0.1:1"))
    assert sync_sweep(copy.storage, "s", own) > 0
    assert len(runs_of(own)) == 3


@pytest.mark.parametrize("how", ["removed", "another sweep", "a link"])
def test_what_was_moved_is_no_copy(how, shared, project, uri, tmp_path):
    (tmp_path / "old").rename(tmp_path / "new")
    if how == "a link":
        (tmp_path / "old").symlink_to(tmp_path / "new")
    if how == "another sweep":
        project("old").run("s", **ONLINE, **{"tracking.uri": uri})
    assert project("new").resume("s", more_trials=1, offline=False).unsent == 0
    assert len(runs_of(uri)) == 4 or how == "another sweep"


def test_a_copy_of_what_was_moved_is_a_copy(shared, project, tmp_path):
    """The journal knows where its latest session was."""
    (tmp_path / "old").rename(tmp_path / "new")
    project("new").resume("s", more_trials=1)
    shutil.copytree(tmp_path / "new", tmp_path / "copy")
    assert f"{tmp_path}/new/sweeps/s" in refused(lambda: project("copy").resume("s", more_trials=1))


def test_a_journal_of_before_says_nothing_of_its_place(shared, project, uri, tmp_path):
    shared.rewrite("s", lambda event: {key: value for key, value in event.items() if key != "place"})
    shutil.copytree(tmp_path / "old", tmp_path / "copy")
    assert project("copy").resume("s", more_trials=1, offline=False).unsent == 0


# --- where files lie --------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path):
    for folder in ("here/mlruns/1/run", "there/mlruns/1/run", "there/mlruns/2"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "here")
    return tmp_path


@pytest.mark.parametrize(
    ("recorded", "today"),
    [
        ("here/mlruns/1/run", "here/mlruns/1/run"),
        ("here/mlruns/3", "here/mlruns/3"),
        ("link/mlruns/1/run", "link/mlruns/1/run"),
        ("there/mlruns/1/run", "here/mlruns/1/run"),  # a copy
        ("there/mlruns/2", "there/mlruns/2"),  # the database alone was moved
        ("gone/mlruns/1/run", "here/mlruns/1/run"),
        ("gone/mlruns/3/run", "here/mlruns/3/run"),
        ("here/mlruns/mlruns/1", "here/mlruns/mlruns/1"),  # an experiment of that name
        ("gone/mlruns/proj/mlruns/1", "here/mlruns/1"),
        ("gone/big/1/run", "gone/big/1/run"),
    ],
)
def test_files_are_beside_the_database_or_where_they_are_said_to_be(recorded, today, here):
    uri = f"sqlite:///{here}/here/mlflow.db"
    assert located(uri, str(here / recorded)) == str(here / today)
    assert located(uri, (here / recorded).as_uri()) in (str(here / today), (here / recorded).as_uri())
    assert located("http://127.0.0.1:5000", str(here / recorded)) == str(here / recorded)


@pytest.mark.parametrize("location", ["s3://bucket/mlruns/1", "mlflow-artifacts:/mlruns/1", "dbfs:/mlruns/1", ""])
def test_files_elsewhere_stay_there(location, here):
    assert located(f"sqlite:///{here}/here/mlflow.db", location) == location


@pytest.mark.slow
def test_a_server_whose_files_cannot_be_written_here(sweeps, environment, migrated_database, tmp_path):
    """It leaves files to its clients: known before a start, and what is sent all the same is all but the files."""
    (tmp_path / "server").mkdir()
    (tmp_path / "blocked").touch()
    root = f"{tmp_path}/blocked/files"
    options = ["--no-serve-artifacts", "--default-artifact-root", root]
    with TrackingServer(tmp_path / "server", environment, migrated_database, options) as server:
        server.wait()
        online = {**ONLINE, "tracking.uri": server.uri}
        client = open_client(server.uri)
        client.create_experiment("another")
        with pytest.raises(UserError, match=rf"the files of experiment 'vae-tuner' go to {root}, .*--serve-artifacts"):
            sweeps.run("s", **online)
        assert client.get_experiment_by_name("vae-tuner") is None
        sweeps.run("s", **{**online, "tracking.offline": True})
        with pytest.raises(
            UserError, match=r"has all records, and did not accept the files of 2 trials: .*Not a directory"
        ):
            sync_sweep(sweeps.storage, "s")
        assert {run.info.status for run in runs_of(server.uri).values()} == {"FINISHED"}
        with pytest.raises(UserError, match=rf"go to {root}/\d+, which cannot be written from here"):
            sweeps.resume("s", more_trials=1, offline=False)
        (row,) = best(server.uri)
        assert (row.config, "has no config.yaml" in row.fault) == (None, True)


def test_a_root_that_cannot_be_written_is_known_before_a_start(uri, sweeps, cli, tmp_path):
    result = sweeps.run("s", **ONLINE, **{"tracking.uri": uri})
    assert result.unsent == 0
    check_artifacts(uri, "vae-tuner")
    (tmp_path / "blocked").touch()
    execute(uri, ("UPDATE experiments SET artifact_location = ?", (f"{tmp_path}/blocked/files",)))
    says = f"the files of experiment 'vae-tuner' go to {tmp_path}/blocked/files, which cannot be written from here"
    with pytest.raises(UserError, match=says):
        sweeps.run("blocked", **ONLINE, **{"tracking.uri": uri})
    assert sweeps.run("offline", **{**ONLINE, "tracking.offline": True, "tracking.uri": uri}).best
    (tmp_path / "c.yaml").write_text("{epochs: 1, threads: 1}")
    refused = cli(tmp_path, "train", "c.yaml", "--tracking-uri", uri)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert says in refused.err
