"""YAML says what it means: nothing stands twice, and numbers are what they look like."""

import pytest
import yaml

from search_spaces.catalogue import parse_space
from trainables.config import DataConfig
from trainables.config.paths import flatten, parse_config
from trainables.errors import ConfigError
from tuner.cli.options import overlaid_spec, parsed_settings
from tuner.running.single_run import read_config
from tuner.sweeps.spec import parse_spec, spec_yaml, sweep_tree
from tuner.sweeps.yaml_files import parse_yaml, parse_yaml_value, read_yaml
from tuner.tracking.configurations import is_same_config


@pytest.fixture
def write(tmp_path):
    """A file of this text."""

    def save(text):
        path = tmp_path / "sweep.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return save


# --- keys that stand twice --------------------------------------------------------------------------------------------

TWICE = {
    "search: {trials: 3}\nname: a\nsearch: {seed: 1}\n": ("search", 1, 3),
    "config:\n  epochs: 3\n  lr:\n    base: 1\n    kind: constant\n    base: 2\n": ("base", 4, 6),
    "space:\n- {a: 1,\n   a: 2}\n": ("a", 2, 3),
    "x-own: {a: 1, a: 2}\n": ("a", 1, 1),
    "name: a\n'name': b\n": ("name", 1, 2),
}


@pytest.mark.parametrize("read", [read_yaml, read_config])
@pytest.mark.parametrize("text", TWICE)
def test_a_key_that_stands_twice_is_refused_with_both_lines(read, text, write):
    path = write(text)
    key, first, second = TWICE[text]
    with pytest.raises(ConfigError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}: `{key}` is in line {first} and again in line {second}; leave one of the two out"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [("yes", "true"), ("on", "True"), ("no", "off"), ("1", "1.0"), ("16", "0x10"), ("10", "010"), ("~", "null")],
)
def test_a_key_that_stands_twice_in_two_spellings_is_refused(first, second, write):
    path = write(f"x-a:\n  {first}: a\n  b: c\n  {second}: d\n")
    with pytest.raises(ConfigError) as error:
        read_yaml(path)
    assert str(error.value) == (
        f"{path}: `{first}` in line 2 and `{second}` in line 4 are the same key; leave one of the two out"
    )


@pytest.mark.parametrize("keys", ["08: 1, 8: 2", "yes: 1, no: 2", "1: a, 2.0: b", "yes_: 1, true: 2", "=: 1, a: 2"])
def test_keys_that_are_not_the_same_may_stand_together(keys):
    assert len(parse_yaml_value(f"{{{keys}}}", "text")) == 2


def test_a_key_that_stands_twice_in_a_setting_is_refused():
    with pytest.raises(ConfigError, match=r"^--set model.kwargs: `a` is in line 1 and again"):
        parsed_settings(["model.kwargs={a: 1, a: 2}"])


@pytest.mark.parametrize("value", ["!!int ''", "!!float ''", "!!bool x", "!!timestamp x"])
def test_a_tag_whose_value_is_not_of_its_type_is_refused_in_a_sentence(value, write):
    with pytest.raises(ConfigError, match=r"not valid YAML: a value does not have the type of its tag \(!!…\)$"):
        read_yaml(write(f"a: {value}\n"))


def test_what_a_merge_brings_along_may_be_written_anew(write):
    text = "x-a: &a {epochs: 3, seed: 1}\nx-b: &b {<<: *a, seed: 2}\nconfig: {<<: *b, epochs: 5}\n"
    assert read_yaml(write(text)) == {"config": {"epochs": 5, "seed": 2}}


@pytest.mark.parametrize(
    "config",
    [
        {"lr.base": 0.1, "lr": {"base": 0.2}},
        {"lr": {"base": 0.2}, "lr.base": 0.1},
        {"model.kwargs": {"width": 1}, "model": {"kwargs": {"width": 1}}},
    ],
)
def test_a_path_and_its_section_together_are_refused(config):
    for read in (lambda: sweep_tree({"config": config}), lambda: parse_spec({"config": config})):
        with pytest.raises(
            ConfigError, match="is given twice, by its path and inside its section; remove one of the two"
        ):
            read()


def test_an_option_replaces_a_path_that_the_file_writes_by_its_name(write):
    spec = overlaid_spec(write("config: {lr.base: 0.1, epochs: 3}\n"), ["lr.base=0.2"])
    assert flatten(spec.config) == {"lr.base": 0.2, "epochs": 3}


# --- numbers ----------------------------------------------------------------------------------------------------------

NUMBERS = {
    "010": 10,
    "-010": -10,
    "0_10": 10,
    "00": 0,
    "1:30": "1:30",
    "-1:30": "-1:30",
    "190:20:30": "190:20:30",
    "1:30.5": "1:30.5",
    "0": 0,
    "10": 10,
    "1_000": 1000,
    "0x10": 16,
    "1.5e+3": 1500.0,
    "010.5": 10.5,
    ".5": 0.5,
    "1e-4": "1e-4",
    "08": "08",
    "-09": "-09",
    **dict.fromkeys(("yes", "Yes", "on", "ON", "true"), True),
    **dict.fromkeys(("no", "No", "off", "OFF", "false"), False),
    "y": "y",
    "n": "n",
    "'010'": "010",
}


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_what_they_look_like(text):
    found = parse_yaml_value(text, "text")
    assert (type(found), found) == (type(NUMBERS[text]), NUMBERS[text])


@pytest.mark.parametrize(
    "value", [8, 10, -8, 0, 64, 1e-4, 0.5, "010", "08", "1:30", "0o10", "1e-4", "off", "1_0", None]
)
def test_what_is_written_is_read_back(value):
    """Also what earlier versions wrote."""
    assert parse_yaml_value(yaml.safe_dump({"a": value}), "text") == {"a": value}


def test_a_time_of_sixty_seconds_is_refused_and_not_read_as_another(write):
    with pytest.raises(ConfigError, match=r'^budget\.time: "1:30" is not allowed; allowed: a time such as 90s, 30m'):
        overlaid_spec(write("budget: {time: 1:30}\n"), None)
    assert parse_config(read_config(write("seed: 010\n"))).seed == 10


def test_a_leading_zero_before_8_or_9_is_the_number_where_one_is_asked_for(write):
    spec = overlaid_spec(write("config: {epochs: 08, seed: 010}\nspace: {model.latent_dim: {choice: [08, 16]}}\n"), [])
    config = parse_config(spec.config)
    assert (config.epochs, config.seed) == (8, 10)
    assert parse_space(spec.space).dimensions["model.latent_dim"].options == (8, 16)


@pytest.mark.parametrize("word", ["yes", "no", "on", "off"])
@pytest.mark.parametrize("place", ["name: {}", "tracking: {{tags: {{a: {}}}}}", "scheduler: {{kind: {}}}"])
def test_a_boolean_where_a_word_is_asked_for_is_refused_and_said(word, place, write):
    with pytest.raises(ConfigError, match=r"YAML reads yes, no, on, off as booleans; the word for off is `none`"):
        overlaid_spec(write(place.format(word) + "\n"), None)


def test_a_date_among_metrics_is_refused_in_one_sentence(write):
    with pytest.raises(ConfigError, match=r"^search\.metric: .*2026-01-01.* is not allowed; allowed: "):
        overlaid_spec(write("search: {metric: [val/mse, 2026-01-01]}\n"), None)


# --- own keys, anchors and what is too much ---------------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_yaml, read_config])
def test_own_keys_at_the_top_may_hold_anchors(read, write):
    found = read(write("x-data: &data {name: digits, split_seed: 3}\ndata: *data\n"))
    assert found["data"]["split_seed"] == 3
    assert DataConfig().split_seed != 3
    assert not any(name.startswith("x-") for name in found)


def test_own_keys_deeper_down_are_unknown(write):
    with pytest.raises(ConfigError, match="unknown key `x-own`"):
        overlaid_spec(write("config: {x-own: 1}\n"), None)


def test_merges_that_multiply_are_refused_at_once(write):
    lines = ["a0: &a0 {k0: 1, k1: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 25)]
    with pytest.raises(ConfigError, match="holds more than 100,000 values with its aliases"):
        read_yaml(write("\n".join(lines)))


def test_a_spec_is_read_back_from_its_text():
    spec = parse_spec({"name": "010", "tracking": {"tags": {"start": "1:30", "year": "0100"}}, "config": {"seed": 8}})
    assert parse_spec(parse_yaml(spec_yaml(spec), "spec.yaml")) == spec


@pytest.mark.parametrize("text", ["a: 2026-01-01", "a: [", "- 1", "a: 1\na: 1", "? {a: 1}\n: 2", ""])
def test_a_text_that_is_no_configuration_has_no_digest(text):
    assert not is_same_config(text, "0" * 64)
