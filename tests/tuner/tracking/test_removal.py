"""What a sweep keeps on disk goes when it is asked to, and nothing else."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from trainables.data.readers.fetched import DATA, digest_of
from trainables.errors import StorageError, UserError
from trainables.folder import LocalFolder, bytes_in
from tuner.running import driver
from tuner.sweeps.folder import locked
from tuner.sweeps.status import sweep_statuses
from tuner.tracking.mlflow_store import Tag, ensure_experiment, find_runs, open_client
from tuner.tracking.removal import remove_sweep
from tuner.tracking.syncing import sync_sweep


def runs_in(uri):
    client = open_client(uri)
    return {run.info.run_name for run in find_runs(client, ensure_experiment(client, "vae-tuner"), "")}


def kept(sweeps):
    """All files but the one that names the last process that held the sweep."""
    return sorted(path for path in sweeps.storage.rglob("*") if not path.name.startswith("owner-"))


def test_a_removed_sweep_is_gone_and_its_bytes_are_told(sweeps):
    sweeps.run("s")
    sweeps.run("other")
    size = bytes_in(LocalFolder(sweeps.storage / "s"))
    removed = remove_sweep(sweeps.storage, "s")
    assert (removed.kept, removed.runs) == (None, 0)
    assert removed.bytes_freed == size > 0
    assert [path.name for path in sweeps.storage.iterdir()] == ["other"]


def test_the_best_trial_and_the_journal_are_kept(sweeps):
    result = sweeps.run("s")
    journal, size = sweeps.events("s"), bytes_in(LocalFolder(sweeps.storage / "s"))
    removed = remove_sweep(sweeps.storage, "s", keep_best=True)
    assert removed.kept == result.best.trial == "0002"
    assert [path.name for path in (sweeps.storage / "s" / "trials").iterdir()] == ["0002"]
    assert sweeps.events("s") == journal
    assert removed.bytes_freed == size - bytes_in(LocalFolder(sweeps.storage / "s")) > 0


def test_with_its_runs_go_exactly_its_runs_wherever_they_are(sweeps, new_store):
    uri, elsewhere = new_store("store"), new_store("elsewhere")
    for name in ("s", "other"):
        sweeps.run(name, **{"tracking.uri": uri})
        sync_sweep(sweeps.storage, name)
        sync_sweep(sweeps.storage, name, elsewhere)
    removed = remove_sweep(sweeps.storage, "s", with_runs=True)
    assert removed.runs == 5
    assert runs_in(uri) == {"other", *(f"other-{n:04}" for n in range(4))}
    assert len(runs_in(elsewhere)) == 10
    assert remove_sweep(sweeps.storage, "other", with_runs=True, uri=elsewhere).runs == 5
    assert (len(runs_in(uri)), len(runs_in(elsewhere))) == (5, 5)


def test_runs_that_were_trained_from_a_sweep_stay(sweeps, uri):
    sweeps.run("s", **{"tracking.uri": uri})
    sync_sweep(sweeps.storage, "s")
    client = open_client(uri)
    own = {Tag.KIND: "retrain", Tag.SWEEP_ID: sweeps.events("s")[0]["sweep_id"]}
    client.create_run(ensure_experiment(client, "vae-tuner"), tags=own, run_name="mine")
    assert remove_sweep(sweeps.storage, "s", with_runs=True).runs == 5
    assert runs_in(uri) == {"mine"}


def test_a_store_that_is_away_leaves_all_as_it_is(sweeps):
    sweeps.run("s", **{"tracking.uri": "http://127.0.0.1:9"})
    before = kept(sweeps)
    with pytest.raises(UserError, match="cannot be reached"):
        remove_sweep(sweeps.storage, "s", with_runs=True)
    assert kept(sweeps) == before


def test_a_held_sweep_stays(sweeps):
    sweeps.run("s")
    before = kept(sweeps)
    with locked(sweeps.storage / "s"), pytest.raises(UserError, match="sweep s is held by process"):
        remove_sweep(sweeps.storage, "s")
    assert kept(sweeps) == before


@pytest.mark.parametrize("name", ["../s", "s/trials", "..", ".", "", "t"])
def test_no_name_leads_out_of_the_storage(name, sweeps):
    sweeps.run("s")
    (sweeps.storage.parent / "journal.jsonl").write_bytes(sweeps.journal("s").read_bytes())
    before = sorted(sweeps.storage.parent.rglob("*"))
    with pytest.raises(UserError, match="name: no sweep"):
        remove_sweep(sweeps.storage, name)
    assert sorted(sweeps.storage.parent.rglob("*")) == before


def test_what_a_start_that_died_left_can_be_removed(sweeps):
    sweeps.run("s")
    sweeps.cut("s", 0)
    for options in ({"keep_best": True}, {"with_runs": True}):
        with pytest.raises(UserError, match="the journal holds nothing yet"):
            remove_sweep(sweeps.storage, "s", **options)
    remove_sweep(sweeps.storage, "s")
    assert not (sweeps.storage / "s").exists()


def test_links_are_removed_and_what_they_point_to_is_not(sweeps, tmp_path):
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "precious").write_text("precious")
    for name in ("a", "b"):
        sweeps.run(name)
    (sweeps.storage / "a" / "trials" / "0009").symlink_to(outside)
    (sweeps.storage / "a" / "trials" / "README").write_text("a stray file")
    remove_sweep(sweeps.storage, "a")
    (sweeps.storage / "b" / "trials").rename(tmp_path / "elsewhere")
    (sweeps.storage / "b" / "trials").symlink_to(outside)
    remove_sweep(sweeps.storage, "b", keep_best=True)
    remove_sweep(sweeps.storage, "b")
    assert (outside / "precious").read_text() == "precious"
    assert (outside / "folder").is_dir()
    assert not list(sweeps.storage.iterdir())


def test_a_sweep_that_is_a_link_is_removed_where_it_is(sweeps, tmp_path):
    sweeps.run("s")
    (sweeps.storage / "s").rename(tmp_path / "s")
    (sweeps.storage / "s").symlink_to(tmp_path / "s")
    with pytest.raises(UserError, match=f"sweep 's' in .* is a link; name its own storage: --storage {tmp_path}"):
        remove_sweep(sweeps.storage, "s")
    assert remove_sweep(tmp_path, "s").bytes_freed > 0


def test_a_sweep_whose_journal_is_damaged_can_be_removed_and_hides_no_other(sweeps):
    for name in ("s", "whole"):
        sweeps.run(name)
    journal = sweeps.journal("s")
    journal.write_bytes(journal.read_bytes().replace(b'"ask"', b'"axe"', 1))
    assert {status.name: status.state for status in sweep_statuses(sweeps.storage)} == {
        "s": "damaged",
        "whole": "completed",
    }
    with pytest.raises(UserError, match="is damaged at byte"):
        sweep_statuses(sweeps.storage, "s")
    with pytest.raises(UserError, match="is damaged at byte"):
        remove_sweep(sweeps.storage, "s", keep_best=True)
    assert remove_sweep(sweeps.storage, "s").bytes_freed > 0


# --- data that were sent along with a job -----------------------------------------------------------------------------


@pytest.fixture(params=["folder", "file"])
def place(request, sweeps, tmp_path, monkeypatch):
    """A storage, and what a sweep in it is given along: place(content) → the name of data that lie there."""
    monkeypatch.setenv("VAE_TUNER_CACHE", str(tmp_path / "cache"))
    storage = sweeps.storage if request.param == "folder" else tmp_path / "bucket"
    return Place(str(storage) if request.param == "folder" else storage.as_uri(), storage)


@dataclass(frozen=True)
class Place:
    storage: str
    folder: Path

    def given(self, value):
        """Data that were sent with a job: their name."""
        file = self.folder / "own.npy"
        self.folder.mkdir(exist_ok=True)
        np.save(file, np.random.default_rng(value).integers(0, 256, (300, 4, 4), np.uint8))
        digest = digest_of({"own.npy": file})
        (self.folder / DATA / digest).mkdir(parents=True, exist_ok=True)
        file.rename(self.folder / DATA / digest / "own.npy")
        return f"{self.storage}/{DATA}/{digest}/own.npy"

    def run(self, sweeps, name, data):
        driver.run_sweep(sweeps.plan(name, storage=self.storage, **{"config.data.name": data}))

    @property
    def data(self):
        return {path.name for path in self.folder.glob(f"{DATA}/*") if any(path.iterdir())}


def test_data_that_were_sent_go_with_the_last_sweep_that_names_them(sweeps, place):
    one, other = place.given(1), place.given(2)
    for name, data in (("a", one), ("b", one), ("c", other)):
        place.run(sweeps, name, data)
    digests = [Path(name).parent.name for name in (one, other)]
    assert remove_sweep(place.storage, "a").data == 0
    remove_sweep(place.storage, "b", keep_best=True)
    assert place.data == {*digests}
    assert remove_sweep(place.storage, "b").data == 1
    assert place.data == {digests[1]}
    before = bytes_in(LocalFolder(place.folder))
    removed = remove_sweep(place.storage, "c")
    assert (removed.data, place.data) == (1, set())
    assert removed.bytes_freed > before - bytes_in(LocalFolder(place.folder)) - 1000 > 0


def test_data_stay_where_a_journal_cannot_be_read(sweeps):
    place = Place(str(sweeps.storage), sweeps.storage)
    own = place.given(1)
    for name in ("a", "damaged", "unbegun"):
        place.run(sweeps, name, own)
    whole = {name: sweeps.journal(name).read_bytes() for name in ("damaged", "unbegun")}
    sweeps.journal("damaged").write_bytes(whole["damaged"].replace(b'"ask"', b'"axe"', 1))
    assert remove_sweep(place.storage, "a").data == 0
    assert remove_sweep(place.storage, "damaged").data == 0
    place.run(sweeps, "a", own)
    sweeps.cut("unbegun", 0)
    assert remove_sweep(place.storage, "a").data == 0
    assert place.data == {Path(own).parent.name}


def test_data_below_a_link_are_left(sweeps, tmp_path):
    place = Place(str(sweeps.storage), sweeps.storage)
    own = place.given(1)
    (sweeps.storage / DATA).rename(tmp_path / "elsewhere")
    (sweeps.storage / DATA).symlink_to(tmp_path / "elsewhere")
    place.run(sweeps, "a", own)
    remove_sweep(place.storage, "a")
    assert place.data == {Path(own).parent.name}


@pytest.mark.parametrize("keep_best", [False, True])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_sweep_can_be_removed_from_a_disk_that_is_full_to_the_last_byte(code, keep_best, sweeps, monkeypatch):
    sweeps.run("s")

    def full(*arguments):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageError, match="free some space"):
            sweeps.resume("s", more_trials=1)
        removed = remove_sweep(sweeps.storage, "s", keep_best=keep_best)
    assert removed.bytes_freed > 0
    assert sweeps.journal("s").exists() is keep_best
    if keep_best:
        sweeps.resume("s", more_trials=1)
