"""What a sweep keeps on disk goes when it is asked to, and nothing else."""

import pytest

from trainables.errors import UserError
from tuner.running.sweep_status import sweep_statuses
from tuner.storage.removal import remove_sweep
from tuner.storage.sweep_folder import bytes_in, locked
from tuner.tracking.mlflow_store import ensure_experiment, find_runs, open_client
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
    size = bytes_in(sweeps.storage / "s")
    removed = remove_sweep(sweeps.storage, "s")
    assert (removed.kept, removed.runs) == (None, 0)
    assert removed.bytes_freed == size > 0
    assert [path.name for path in sweeps.storage.iterdir()] == ["other"]


def test_the_best_trial_and_the_journal_are_kept(sweeps):
    result = sweeps.run("s")
    journal, size = sweeps.events("s"), bytes_in(sweeps.storage / "s")
    removed = remove_sweep(sweeps.storage, "s", keep_best=True)
    assert removed.kept == result.best.trial == "0002"
    assert [path.name for path in (sweeps.storage / "s" / "trials").iterdir()] == ["0002"]
    assert sweeps.events("s") == journal
    assert removed.bytes_freed == size - bytes_in(sweeps.storage / "s") > 0


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
