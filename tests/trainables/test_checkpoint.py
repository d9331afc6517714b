import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from trainables.config.paths import parse_config
from trainables.errors import DataError
from trainables.files import checkpoint as checkpoints
from trainables.files.checkpoint import Checkpoint, config_hash, read, write


def a_checkpoint(value=1.0):
    params = {"encoder.weight": torch.full((2, 3), value), "decoder.bias": torch.tensor([value, float("inf")])}
    count = {name: torch.tensor(value) for name in params}
    moments = {group: {name: tensor.clone() for name, tensor in params.items()} for group in ("first", "second")}
    kept = {"buffers": {"encoder.mean": torch.full((3,), value)}, "state": {"met": torch.tensor(1.0)}}
    groups = {"params": params, **moments, "count": count, **kept}
    config = parse_config({"objective": {"kind": "geco"}, "model": {"hidden": [3, 2]}})
    return Checkpoint(config, 7, (2, 4), groups, {"val/elbo": -1 / 3}, "ok")


def test_what_was_written_is_read(tmp_path):
    written = a_checkpoint()
    write(tmp_path / "folder" / "checkpoint", written)
    found = read(tmp_path / "folder" / "checkpoint")
    assert (found.config, found.epoch, found.shape) == (written.config, 7, (2, 4))
    assert (found.metrics, found.outcome) == (written.metrics, "ok")
    torch.testing.assert_close(found.groups, written.groups, rtol=0, atol=0)


def test_a_checkpoint_replaces_the_one_before(tmp_path):
    write(tmp_path / "checkpoint", a_checkpoint(1.0))
    write(tmp_path / "checkpoint", a_checkpoint(2.0))
    assert read(tmp_path / "checkpoint").groups["state"]["met"] == 1
    assert read(tmp_path / "checkpoint").groups["params"]["encoder.weight"][0, 0] == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "checkpoint"]


def test_two_nodes_that_write_one_file_at_once_do_not_meet(tmp_path, monkeypatch):
    """An orphan and who took its trial over, on a disk that both see; processes of both have the same numbers."""
    path = tmp_path / "checkpoint"

    def overtaken(tensors, partial, metadata):
        monkeypatch.undo()
        save_file(tensors, partial, metadata)
        write(path, a_checkpoint(2.0))

    monkeypatch.setattr(checkpoints, "save_file", overtaken)
    write(path, a_checkpoint(1.0))
    assert read(path).groups["params"]["encoder.weight"][0, 0] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    write(path, a_checkpoint(1.0))
    before = path.read_bytes()

    def half(tensors, partial, metadata):
        save_file(tensors, partial, metadata)
        partial.write_bytes(partial.read_bytes()[:40])
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_file", half)
    with pytest.raises(KeyboardInterrupt):
        write(path, a_checkpoint(2.0))
    assert path.read_bytes() == before


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(tensors, partial, metadata):
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "checkpoint", a_checkpoint())
    assert list(tmp_path.iterdir()) == []


def test_a_flip_of_any_bit_is_noticed(tmp_path):
    """Every 97th byte, and all of the last ones, which are values of tensors."""
    path = tmp_path / "checkpoint"
    write(path, a_checkpoint())
    whole = path.read_bytes()
    for at in (*range(0, len(whole), 97), *range(len(whole) - 24, len(whole))):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DataError):
            read(path)


@pytest.mark.parametrize("size", [0, 4, 40, -1])
def test_a_truncated_file_is_refused(size, tmp_path):
    path = tmp_path / "checkpoint"
    write(path, a_checkpoint())
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value).startswith(f"{path} cannot be read as a checkpoint: ")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError) as error:
        read(tmp_path / "none")
    assert str(error.value).startswith(f"{tmp_path / 'none'} cannot be read as a checkpoint: ")


@pytest.mark.parametrize("metadata", [None, {"format": "0"}, {"format": "pt"}, {"format": "1"}], ids=str)
def test_somebody_elses_tensors_are_refused(metadata, tmp_path):
    path = tmp_path / "checkpoint"
    save_file({"weight": torch.zeros(2)}, path, metadata)
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) == f"{path} is not a checkpoint of the format vae-tuner 1"


def test_a_pickle_is_refused_and_not_executed(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    (tmp_path / "checkpoint").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(DataError):
        read(tmp_path / "checkpoint")
    torch.save({"payload": Payload()}, tmp_path / "checkpoint")
    with pytest.raises(DataError):
        read(tmp_path / "checkpoint")
    assert not (tmp_path / "executed").exists()


def test_equal_configurations_have_equal_hashes():
    first, same, other = (parse_config(tree) for tree in ({}, {"lr": {"base": "6e-3"}}, {"seed": 1}))
    assert config_hash(first) == config_hash(same) != config_hash(other)


@pytest.mark.parametrize(
    ("changes", "tensors"),
    [
        ({"config": None}, {}),
        ({"epoch": "seven"}, {}),
        ({"metrics": "[1, 2]"}, {}),
        ({"shape": "{"}, {}),
        ({}, {"unknown/weight": torch.zeros(1)}),
    ],
)
def test_a_file_whose_checksum_is_right_and_whose_content_is_not_is_refused(changes, tensors, tmp_path):
    """As a fallback to the checkpoint before it needs: a DataError, and no other."""
    write(tmp_path / "checkpoint", a_checkpoint())
    with safe_open(tmp_path / "checkpoint", "pt") as file:
        metadata = {name: value for name, value in {**file.metadata(), **changes}.items() if value is not None}
    del metadata["checksum"]
    save_file(tensors, tmp_path / "other", {**metadata, "checksum": checkpoints.checksum(metadata, tensors)})
    with pytest.raises(DataError, match="is not a checkpoint of the format"):
        read(tmp_path / "other")
