"""Each check finds the model that breaks it, and no other model."""

import pytest
import torch

from trainables.config.paths import parse_config, variants
from trainables.errors import ConfigError
from trainables.models import build_model
from trainables.models.inspection import check_user_model, inspect_model

SHAPES = [(4, 6), (3, 8, 7), (1, 5, 5)]


def config_of(kind, **tree):
    return parse_config({"data": {"name": "x.npy"}, "model": {"kind": kind, "latent_dim": 3, **tree}}).model


def messages(findings):
    return [(finding.check, finding.level, finding.message) for finding in findings]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", variants("model"))
def test_built_in_models_pass(kind, shape):
    config = config_of(kind)
    n = sum(value.numel() for value in build_model(config, shape).init(0, torch.device("cpu")).values())
    assert messages(inspect_model(config, shape)) == [("parameters", "note", f"{n:,} parameters")]
    assert check_user_model(config, shape) == []


@pytest.mark.parametrize("factory", ["make", "FlatOutput", "Tied", "FrozenAndBuffered", "BeginsAtZero", "Evaluating"])
def test_unusual_models_pass(factory, nets):
    findings = inspect_model(config_of(f"{nets}:{factory}"), (2, 4))
    assert [finding.check for finding in findings] == ["parameters"]


def test_the_number_of_parameters_is_told(nets):
    config = config_of(f"{nets}:make", kwargs={"width": 100})
    n = (8 * 100 + 100) + (100 * 6 + 6) + (3 * 100 + 100) + (100 * 8 + 8)
    assert check_user_model(config, (2, 4)) == [f"{nets}:make: {n:,} parameters"]


def test_names_of_neither_side_are_noted(nets):
    found = messages(inspect_model(config_of(f"{nets}:OtherNames"), (2, 4)))
    wanted = "lr.encoder and lr.decoder do not reach recognition.1.weight, named for neither side"
    assert found[0] == ("parameters", "note", wanted)


BROKEN = {
    "batch_norm": [
        (
            "buffers",
            "a call changes encoder.3.running_mean, which a model without state cannot; use GroupNorm instead of "
            "BatchNorm",
        ),
        ("rows", "examples of a batch influence each other; use GroupNorm instead of BatchNorm"),
    ],
    "batch_norm_without_averages": [
        ("rows", "examples of a batch influence each other; use GroupNorm instead of BatchNorm")
    ],
    "dropout": [("repeatable", "two calls on the same input differ; remove Dropout and own random draws")],
    "UnusedLayer": [("gradients", "no gradient reaches encoder.spare.weight, encoder.spare.bias; use or remove them")],
    "Detached": [
        ("gradients", "no gradient reaches encoder.1.weight, encoder.1.bias, encoder.3.weight, encoder.3.bias; use ")
    ],
    "NotFinite": [("finite", "its first outputs are not finite; begin with smaller weights")],
    "OneTensor": [
        ("encode", "encode gave (4, 6), not a pair (4, 3), (4, 3), mean and log-variance"),
    ],
    "TooFewLatents": [
        ("encode", "encode gave (4, 2), (4, 2), not a pair (4, 3), (4, 3), mean and log-variance"),
        ("decode", "decode raised RuntimeError: "),
    ],
    "ChannelsLast": [("decode", "decode gave (4, 5, 4, 2), not (4, 2, 5, 4) or (4, 40)")],
    "Mixed": [("parameters", "its parameters are of float32 and float64; make them all of one kind, as .float() does")],
    "NoParameters": [("parameters", "it has no trainable parameters; give it layers as attributes that require ")],
    "AllFrozen": [("parameters", "it has no trainable parameters; ")],
    "ExitsInEncode": [("encode", "encode raised SystemExit: 3 (")],
    "CancelledInEncode": [("encode", "encode raised CancelledError: no time (")],
    "OnAnotherDevice": [("decode", "decode gave a tensor on meta for one on cpu; make tensors on")],
    "ExitsInBoth": [
        ("encode", "encode raised SystemExit: 3 ("),
        ("decode", "decode raised SystemExit: wrong place ("),
    ],
    "RaisesInDecode": [("decode", "decode raised RuntimeError: the decoder is not written yet (")],
}


@pytest.mark.parametrize("factory", BROKEN)
def test_each_mistake_is_found_by_its_check(factory, nets):
    found = inspect_model(config_of(f"{nets}:{factory}"), (2, 5, 4))
    assert [finding.check for finding in found] == [check for check, _ in BROKEN[factory]]
    for finding, (_, told) in zip(found, BROKEN[factory], strict=True):
        assert finding.level == "error"
        assert told in finding.message
        assert "\n" not in finding.message


@pytest.mark.parametrize("factory", BROKEN)
def test_a_broken_model_is_one_error_that_names_it(factory, nets):
    with pytest.raises(ConfigError) as error:
        check_user_model(config_of(f"{nets}:{factory}"), (2, 5, 4))
    assert str(error.value).startswith(f"model.kind: {nets}:{factory}: ")
    assert str(error.value).count("model.kind") == 1
    assert all(told in str(error.value) for _, told in BROKEN[factory])


def test_inspection_leaves_the_random_state_of_the_process(nets):
    torch.manual_seed(3)
    inspect_model(config_of(f"{nets}:make"), (2, 4))
    drawn = torch.rand(4)
    torch.manual_seed(3)
    assert drawn.equal(torch.rand(4))
