"""What a trial was trained on and with is kept beside its parameters, and said where it is not the same."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from trainables.config.paths import parse_config
from trainables.data.dataset import Dataset
from trainables.files import checkpoint as checkpoints
from trainables.files.checkpoint import Checkpoint, read, write
from trainables.identity import NAMES, Identity, differences, notes_on, parse_identity, version_notes, versions

KIND = "nets:make"
ONE = Identity("a" * 16, {KIND: "c" * 16}, {"torch": "2.14.1", "vae-tuner": "0.1.0"})
OTHER = Identity("b" * 16, {KIND: "d" * 16}, {"torch": "2.13.0", "vae-tuner": "0.1.0"})
UNKNOWN = Identity()


def kept(identity):
    return Checkpoint(parse_config({}), 1, (2,), {"params": {"w": torch.ones(2)}}, identity=identity)


@pytest.mark.parametrize("identity", [ONE, UNKNOWN, Identity("a" * 16), Identity(versions={"torch": "2.14.1"})])
def test_plain_data_and_checkpoints_give_an_identity_back(identity, tmp_path):
    assert parse_identity(json.loads(json.dumps(identity.document()))) == identity
    write(tmp_path / "c.safetensors", kept(identity))
    assert read(tmp_path / "c.safetensors").identity == identity


def test_a_checkpoint_from_before_there_were_digests_is_of_unknown_origin(tmp_path):
    write(tmp_path / "c.safetensors", kept(ONE))
    with safe_open(tmp_path / "c.safetensors", framework="pt") as file:
        metadata = {name: text for name, text in file.metadata().items() if name not in ("identity", "checksum")}
        tensors = {"params/w": file.get_tensor("params/w")}
    save_file(tensors, tmp_path / "old", {**metadata, "checksum": checkpoints.checksum(metadata, tensors)})
    assert read(tmp_path / "old").identity == UNKNOWN


@pytest.mark.parametrize("tree", [None, [], "x", {"data": 3, "code": "x", "versions": []}, {"code": {KIND: None}}])
def test_what_is_no_identity_is_unknown(tree):
    assert parse_identity(tree) == UNKNOWN


@pytest.mark.parametrize("one", [ONE, OTHER, UNKNOWN])
@pytest.mark.parametrize("other", [ONE, OTHER, UNKNOWN])
def test_what_is_known_of_both_and_not_the_same_is_said_once_each(one, other):
    known = UNKNOWN not in (one, other)
    assert len(differences(one, other, "x.npy", "of s")) == (2 if known and one != other else 0)
    assert len(version_notes(one, other)) == (1 if known and one != other else 0)


def test_a_sentence_names_what_differs_and_both_digests():
    a, b, c, d = (letter * 16 for letter in "abcd")
    assert notes_on(ONE, OTHER, "/home/me/x.npy", "of run r") == [
        f"the data x.npy are not those of run r (digest {a} here, {b} there); the numbers will be others",
        f"the code of nets:make is not that of run r (digest {c} here, {d} there); the numbers will be others",
        "torch is 2.14.1 here and was 2.13.0 there: numbers may differ in their last digits",
    ]


def test_what_was_recorded_before_the_step_was_numbered_is_of_the_first():
    recorded = {name: text for name, text in versions().items() if name != "train step"}
    assert version_notes(Identity(versions=versions()), Identity(versions=recorded)) == [
        "train step is 2 here and was 1 there: numbers may differ in their last digits"
    ]
    assert version_notes(Identity(versions=versions()), UNKNOWN) == []


def test_the_code_of_other_models_is_no_difference():
    assert differences(ONE, Identity("a" * 16, {"nets:wide": "d" * 16}), "x.npy", "of s") == []


def test_a_trainer_says_what_it_trains_on(trial):
    x = torch.rand(20, 4)
    trainer = trial(Dataset((4,), x, x, x, 1.0, dynamic=False, digest="e" * 16), epochs=1)
    assert trainer.checkpoint().identity == Identity("e" * 16, versions=versions())
    assert set(versions()) == set(NAMES)
    assert not any("+" in version for version in versions().values())
