import pytest
import torch

from trainables.checkpoint import FILE_NAME, Checkpoint, write
from trainables.generations import Generations
from trainables.paths import parse_config

CONFIG = parse_config({})


def a_checkpoint(epoch, config=CONFIG):
    return Checkpoint(config, epoch, (2,), {"params": {"w": torch.tensor([float(epoch)])}})


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def generations(tmp_path, warnings):
    return lambda session="a": Generations(tmp_path, session, warnings.append)


def test_the_newest_is_gone_on_from_and_two_are_kept(generations, tmp_path, warnings):
    own = generations()
    assert own.latest(CONFIG, "cpu", 99) is None
    names = [own.save(a_checkpoint(epoch)) for epoch in (1, 2, 3, 11)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names[-2:]
    assert own.latest(CONFIG, "cpu", 99).epoch == 11
    assert warnings == []


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None], ids=["empty", "foreign", "truncated"])
def test_a_damaged_one_is_passed_over_with_a_warning(damage, generations, tmp_path, warnings):
    own = generations()
    own.save(a_checkpoint(1))
    path = tmp_path / own.save(a_checkpoint(2))
    path.write_bytes(path.read_bytes()[:-3] if damage is None else damage)
    assert own.latest(CONFIG, "cpu", 99).epoch == 1
    assert len(warnings) == 1
    assert str(path) in warnings[0]


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
    assert "begins anew" in warnings[0]


def test_the_final_checkpoint_goes_before_all_others(generations, tmp_path):
    own = generations()
    own.save(a_checkpoint(2))
    write(tmp_path / FILE_NAME, a_checkpoint(3))
    assert own.latest(CONFIG, "cpu", 3).epoch == 3
    own.clear()
    assert list(tmp_path.iterdir()) == [tmp_path / FILE_NAME]


def test_an_orphan_does_not_write_what_another_session_reads(generations):
    orphan, own = generations("orphan"), generations("own")
    assert orphan.save(a_checkpoint(4)) != own.save(a_checkpoint(4))
    orphan.save(a_checkpoint(5))
    assert own.latest(CONFIG, "cpu", 99).epoch == 5


def test_an_orphan_removes_nothing_of_a_later_session(generations, tmp_path):
    orphan, own = generations("000001-f"), generations("000002-a")
    orphan.save(a_checkpoint(3))
    kept = {own.save(a_checkpoint(3)), own.save(a_checkpoint(4))}
    for epoch in (4, 5, 6):
        orphan.save(a_checkpoint(epoch))
    orphan.clear()
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_what_an_earlier_session_did_ahead_does_not_push_out_what_is_gone_on_from(generations):
    before, own = generations("000001-f"), generations("000002-a")
    for epoch in (4, 5):
        before.save(a_checkpoint(epoch))
    for epoch in (4, 5):
        own.save(a_checkpoint(epoch))
        assert own.latest(CONFIG, "cpu", 4).epoch == 4, "the epoch before may not be known yet"


def test_a_finished_trial_clears_them(generations, tmp_path):
    own = generations()
    own.save(a_checkpoint(1))
    own.clear()
    assert list(tmp_path.iterdir()) == []
