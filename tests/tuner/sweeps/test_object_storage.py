"""The verbs on a sweep that is kept on object storage: the machine it ran on is not needed any more."""

import shutil

import pytest

from trainables.errors import UserError
from trainables.object_storage import RemoteFolder
from tuner.running import driver
from tuner.sweeps import object_storage as remote_storage
from tuner.sweeps.lease import FencedError
from tuner.sweeps.sealed_journal import RemoteLease
from tuner.sweeps.status import sweep_statuses
from tuner.sweeps.storage import open_storage
from tuner.tracking.removal import remove_sweep
from tuner.tracking.syncing import sync_sweep


@pytest.fixture
def uri(tmp_path, monkeypatch):
    monkeypatch.setenv("VAE_TUNER_CACHE", str(tmp_path / "cache"))
    return f"file://{tmp_path}/bucket/sweeps"


@pytest.fixture
def swept(sweeps, uri, tmp_path):
    """A sweep that has finished, on a machine that is gone."""
    driver.run_sweep(sweeps.plan("s", storage=uri))
    shutil.rmtree(tmp_path / "cache")
    return uri


def test_it_is_known_and_read_from_anywhere(swept, sweeps):
    storage = open_storage(swept)
    assert storage.names() == ["s"]
    (status,) = sweep_statuses(swept)
    assert (status.name, status.state, status.n_trials) == ("s", "completed", 4)
    driver.run_sweep(sweeps.plan("s"))
    alone = [(event["event"], event.get("trial")) for event in sweeps.events("s")]
    assert [(event["event"], event.get("trial")) for event in storage.lines("s")] == alone
    assert b"search:" in (RemoteFolder(swept) / "s").read("spec.yaml")


def test_it_goes_on_under_another_session(swept, sweeps):
    before = open_storage(swept).lines("s")
    result = driver.resume_sweep(swept, "s", more_trials=2, offline=True, data_dir=sweeps.data_dir)
    events = open_storage(swept).lines("s")
    assert events[: len(before)] == before
    assert (result.n_trials, result.finished) == (6, "completed")
    assert [event["session"][:6] for event in (events[0], events[-1])] == ["000001", "000002"]


def test_its_name_is_taken_and_a_free_one_is_named(swept, sweeps):
    with pytest.raises(UserError, match=r"name: sweep 's' exists in file://.*; see it with .* a free name such as s-1"):
        driver.run_sweep(sweeps.plan("s", storage=swept))
    with open_storage(swept).new(None, "lr-digits") as held:
        assert held.folder.name == "lr-digits-1"
    with pytest.raises(UserError, match="name: no sweep 't' in file://"):
        sync_sweep(swept, "t")


def test_of_two_that_start_one_name_the_second_does_not_begin_it_again(uri, sweeps, monkeypatch):
    def waited(folder, name):
        folder.write("000001-a-000000000-000000001.jsonl", b"{}\n")  # and its driver has ended meanwhile
        return take(folder, name)

    take = RemoteLease.take
    monkeypatch.setattr(RemoteLease, "take", waited)
    monkeypatch.setattr(remote_storage, "taken", lambda storage, name: UserError(f"{name} exists"))
    with pytest.raises(UserError, match="s exists"), open_storage(uri).new("s", "lr-digits"):
        pytest.fail("begun again")


def test_it_is_removed_with_all_that_lies_there(swept):
    remove_sweep(swept, "s")
    assert RemoteFolder(swept).names() == []
    assert open_storage(swept).names() == []


def test_who_was_taken_over_removes_nothing(swept):
    objects = RemoteFolder(swept)
    with open_storage(swept).hold("s") as held:
        (objects / "s" / "journal").write("000003-b.json", objects.read(f"s/journal/{held.claim.session}.json"))
        before = objects.names()
        for remove in (held.remove_all, lambda: held.remove_trials(None)):
            with pytest.raises(FencedError, match="sweep s was taken over"):
                remove()
        assert objects.names() == before


def test_what_lies_under_its_name_and_is_no_sweep_is_not_touched(uri, sweeps):
    (RemoteFolder(uri) / "s").write("thesis.tex", b"")
    with pytest.raises(UserError, match="exists"):
        driver.run_sweep(sweeps.plan("s", storage=uri))
    assert RemoteFolder(uri).names() == ["s/thesis.tex"]
