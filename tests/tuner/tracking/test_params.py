import pytest

from trainables.config.paths import parse_config
from tuner.tracking.params import altered, to_params


def params_of(tree):
    return to_params(parse_config(tree).model_dump(mode="json"))


def test_parameters_are_written_as_after_set():
    params = params_of({"objective": {"kind": "geco", "kappa": 0.1 + 0.2}, "model": {"hidden": [256, 128]}})
    written = {"objective.kappa": "0.30000000000000004", "model.hidden": "[256, 128]", "data.n_train": "none"}
    assert written.items() <= params.items()
    assert all(isinstance(text, str) for text in params.values())
    assert not any(path.startswith("beta") for path in params)


def test_the_arguments_of_a_users_model_are_json():
    params = params_of({"model": {"kind": "nets:make", "kwargs": {"a": "7", "b": 7, "c": {"d": None}}}})
    assert {path: text for path, text in params.items() if path.startswith("model.kwargs")} == {
        "model.kwargs.a": '"7"',
        "model.kwargs.b": "7",
        "model.kwargs.c.d": "null",
    }


@pytest.mark.parametrize(
    ("there", "found"),
    [({}, []), ({"epochs": "40"}, []), ({"epochs": "41"}, ["epochs"]), ({"epochs": "4"}, ["epochs"])],
)
def test_an_edited_parameter_is_found_and_a_missing_one_is_none(there, found):
    assert altered(params_of({}), there) == found


@pytest.mark.parametrize("length", [500, 6000])
def test_what_mlflow_cuts_off_is_no_edit(length):
    wanted = params_of({"model": {"kind": "nets:make", "kwargs": {"groups": "x" * 7000}}})
    cut = {path: text[:length] for path, text in wanted.items()}
    assert altered(wanted, cut) == []
    assert altered(wanted, {**cut, "model.kwargs.groups": '"y' + cut["model.kwargs.groups"][2:]}) == [
        "model.kwargs.groups"
    ]
