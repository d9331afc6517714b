import pytest
import torch

from trainables.config.paths import parse_config
from trainables.errors import StorageError
from trainables.files.checkpoint import Checkpoint, write
from trainables.files.epoch_checkpoints import EpochCheckpoints
from trainables.files.trial_files import BEST_NAME, FILE_NAME, trial_files
from trainables.object_storage import RemoteFolder

CONFIG = parse_config({})


def a_checkpoint(epoch, config=CONFIG):
    return Checkpoint(config, epoch, (2,), {"params": {"w": torch.tensor([float(epoch)])}})


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def files(trials_root):
    return trial_files(trials_root, "0000")


@pytest.fixture
def generations(files, warnings):
    return lambda session="a": EpochCheckpoints(files, session, warnings.append)


def damage(files, name, content):
    """Put something else in a checkpoint's place; None for the checkpoint less its end."""
    with files.reading(name) as path:
        whole = path.read_bytes()
    with files.writing() as folder:
        (folder / name).write_bytes(whole[:-3] if content is None else content)


def test_the_newest_is_gone_on_from_and_two_are_kept(generations, files, warnings):
    own = generations()
    assert own.latest(CONFIG, "cpu", 99) is None
    names = [own.save(a_checkpoint(epoch)) for epoch in (1, 2, 3, 11)]
    assert files.names() == names[-2:]
    assert own.latest(CONFIG, "cpu", 99).epoch == 11
    assert warnings == []


def test_the_best_stays_beside_the_newest_two(generations, files):
    own = generations()
    names = [own.save(a_checkpoint(epoch), best=min(epoch, 2)) for epoch in range(1, 7)]
    assert files.names() == [names[1], *names[-2:]]
    assert own.of_epoch(2, CONFIG, "cpu").epoch == 2
    assert generations("b").of_epoch(2, CONFIG, "cpu").epoch == 2
    own.save(a_checkpoint(7), best=7)
    assert files.names() == [names[-1], "epoch-00007-a.safetensors"]


@pytest.mark.parametrize("kept", [True, False])
def test_a_best_that_is_gone_is_told_and_what_was_kept_of_it_is_found(kept, generations, files, warnings):
    own = generations()
    own.save(a_checkpoint(5))
    if kept:
        with files.writing() as folder:
            write(folder / BEST_NAME, a_checkpoint(2))
    found = own.of_epoch(2, CONFIG, "cpu")
    assert (found.epoch == 2, warnings == []) if kept else found is None
    assert kept or "has no checkpoint of epoch 2, the best" in warnings[0]


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None], ids=["empty", "foreign", "truncated"])
def test_a_damaged_one_is_passed_over_with_a_warning(content, generations, files, warnings):
    own = generations()
    own.save(a_checkpoint(1))
    name = own.save(a_checkpoint(2))
    damage(files, name, content)
    assert own.latest(CONFIG, "cpu", 99).epoch == 1
    assert len(warnings) == 1
    assert warnings[0].startswith(str(files / name))


def test_one_of_another_configuration_is_never_gone_on_from(generations, warnings):
    own = generations()
    own.save(a_checkpoint(1))
    own.save(a_checkpoint(2, parse_config({"seed": 1})))
    assert own.latest(CONFIG, "cpu", 99).epoch == 1
    assert "another configuration" in warnings[0]


def test_what_is_further_than_an_epoch_ahead_is_left_alone(generations, warnings):
    own = generations()
    for epoch in (4, 5):
        own.save(a_checkpoint(epoch))
    assert own.latest(CONFIG, "cpu", 4).epoch == 4
    assert warnings == []
    assert own.latest(CONFIG, "cpu", 3) is None
    assert "starts again" in warnings[0]


def test_the_final_checkpoint_goes_before_all_others(generations, files):
    own = generations()
    own.save(a_checkpoint(2))
    with files.writing() as folder:
        write(folder / FILE_NAME, a_checkpoint(3))
    assert own.latest(CONFIG, "cpu", 3).epoch == 3
    own.clear()
    assert files.names() == [FILE_NAME]


def test_an_orphan_does_not_write_what_another_session_reads(generations):
    orphan, own = generations("orphan"), generations("own")
    assert orphan.save(a_checkpoint(4)) != own.save(a_checkpoint(4))
    orphan.save(a_checkpoint(5))
    assert own.latest(CONFIG, "cpu", 99).epoch == 5


def test_an_orphan_removes_nothing_of_a_later_session(generations, files):
    orphan, own = generations("000001-f"), generations("000002-a")
    orphan.save(a_checkpoint(3))
    kept = {own.save(a_checkpoint(3)), own.save(a_checkpoint(4))}
    for epoch in (4, 5, 6):
        orphan.save(a_checkpoint(epoch))
    orphan.clear()
    assert set(files.names()) == kept


def test_what_an_earlier_session_did_ahead_does_not_push_out_what_is_gone_on_from(generations):
    before, own = generations("000001-f"), generations("000002-a")
    for epoch in (4, 5, 6):
        before.save(a_checkpoint(epoch))
    for epoch in (4, 5):
        own.save(a_checkpoint(epoch))
        assert own.latest(CONFIG, "cpu", 4).epoch == 4, "the epoch before may not be known yet"


def test_a_finished_trial_clears_them(generations, files):
    own = generations()
    own.save(a_checkpoint(1))
    own.clear()
    assert files.names() == []


def test_one_that_goes_while_it_is_looked_for_is_passed_over(generations, files, warnings, monkeypatch):
    own = generations()
    own.save(a_checkpoint(1))
    monkeypatch.setattr(type(files), "names", lambda self: ["epoch-00001-a.safetensors", "epoch-00002-a.safetensors"])
    assert own.latest(CONFIG, "cpu", 99).epoch == 1
    assert len(warnings) == 1


def test_storage_that_goes_away_is_no_reason_to_go_back_or_begin_anew(remote_root, warnings, monkeypatch):
    def away(self, name=""):
        raise StorageError("away")

    own = EpochCheckpoints(trial_files(remote_root, "0000"), "a", warnings.append)
    own.save(a_checkpoint(1))
    for read in ("read", "names"):
        monkeypatch.setattr(RemoteFolder, read, away)
        with pytest.raises(StorageError, match="away"):
            own.latest(CONFIG, "cpu", 99)
    assert warnings == []
