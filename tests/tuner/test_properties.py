"""Whatever a user writes: a result, or one sentence. Never a stack trace, never a half-written sweep."""

import string

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from search_spaces.catalogue import parse_space, space_names
from trainables.config import TrialConfig
from trainables.config.paths import known_paths, parse_config, plain, unflatten
from trainables.errors import UserError
from tuner.planning.plans import make_plan
from tuner.sweeps.spec import SweepSpec, parse_spec, spec_yaml
from tuner.sweeps.yaml_files import read_yaml
from tuner.tracking.conditions import parse_conditions

KINDS = ["elbo", "geco", "free-bits", "iwae", "linear", "mlp", "conv", "clr", "one-cycle", "adam", "sgd", "m:f"]
SECTIONS = {
    name: list(field.annotation.model_fields)
    for name, field in SweepSpec.model_fields.items()
    if hasattr(field.annotation, "model_fields")
}

texts = st.text(st.characters(codec="utf-8"), max_size=6) | st.text("abc.+/-_:=<>'\"[]{}%~!&*#\n\0 ", max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 50)
    | st.sampled_from([10**30, -(10**400), 0.0, 1e-3, 1e308, float("nan"), float("inf")])
    | st.sampled_from(["auto", "none", "max", "400 steps", "1e-3", "2h", *KINDS])
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | scalars, inner, max_size=2),
    max_leaves=4,
)
paths = st.sampled_from(known_paths()) | st.sampled_from(list(TrialConfig.model_fields)) | texts
PLAUSIBLE = {
    "lr.base": [1e-3, 1e-2],
    "lr.kind": ["constant", "clr"],
    "objective.kind": ["elbo", "geco", "iwae"],
    "beta.kind": ["linear", "cyclical"],
    "beta.warmup": [0.5, "20 steps"],
    "model.latent_dim": [2, 16],
    "model.kind": ["mlp", "linear-vae"],
    "data.n_train": [300],
    "batch_size": [32, 64],
    "epochs": [3, 9],
}
plausible = st.dictionaries(st.sampled_from(list(PLAUSIBLE)), st.integers(0, 1), max_size=3).map(
    lambda chosen: {path: PLAUSIBLE[path][n % len(PLAUSIBLE[path])] for path, n in chosen.items()}
)
configs = st.tuples(plausible, st.dictionaries(paths, values, max_size=2) | st.just({})).map(
    lambda parts: {**parts[0], **parts[1]}
)
domains = st.fixed_dictionaries(
    {},
    optional={
        "float": st.lists(scalars, max_size=3) | values,
        "int": st.lists(st.integers(-2, 300), max_size=3) | values,
        "choice": st.lists(scalars, max_size=3) | values,
        "log": scalars,
        "when": st.dictionaries(paths, values, max_size=1) | values,
    },
)
plausible_domains = st.sampled_from(list(PLAUSIBLE)).map(lambda path: {path: {"choice": PLAUSIBLE[path]}}) | st.just(
    {"lr.base": {"float": [1e-4, 1e-2], "log": True}, "model.latent_dim": {"int": [2, 9]}}
)
spaces = (
    plausible_domains
    | st.sampled_from(space_names())
    | st.tuples(plausible_domains, st.dictionaries(paths, domains, max_size=1)).map(lambda both: {**both[0], **both[1]})
    | st.lists(st.sampled_from(space_names()) | texts, min_size=1, max_size=3).map("+".join)
    | st.dictionaries(paths | st.just("use"), domains | values, max_size=2)
    | values
)
sections = st.one_of(
    *(
        st.tuples(st.just(name), st.dictionaries(st.sampled_from(fields) | texts, values, max_size=2) | values)
        for name, fields in SECTIONS.items()
    ),
    st.tuples(st.just("config"), configs | values),
    st.tuples(st.just("space"), spaces),
    st.tuples(st.sampled_from(["name", "storage"]) | texts, values),
)
specs = st.lists(sections, max_size=3).map(dict)


def outcome(function, *arguments):
    """What it gives, or None where it refuses in one sentence."""
    try:
        return function(*arguments)
    except UserError as error:
        refusal = str(error)
    assert refusal
    assert "\n" not in refusal
    return None


def nested(flat):
    """A tree of random paths, as far as they make one."""
    return outcome(unflatten, {path: value for path, value in flat.items() if isinstance(path, str)}) or flat


@settings(max_examples=300)
@given(tree=specs)
def test_a_spec_is_read_or_refused_in_one_sentence(tree):
    spec = outcome(parse_spec, tree)
    if spec:
        assert spec_yaml(parse_spec(yaml.safe_load(spec_yaml(spec)))) == spec_yaml(spec)


@settings(max_examples=300)
@given(flat=configs, is_nested=st.booleans())
def test_a_configuration_is_read_or_refused_in_one_sentence(flat, is_nested):
    config = outcome(parse_config, nested(flat) if is_nested else flat)
    if config:
        assert parse_config(plain(config)) == config


@settings(max_examples=300)
@given(value=spaces)
def test_a_space_is_read_or_refused_in_one_sentence(value):
    space = outcome(parse_space, value)
    if space:
        assert parse_space(space.to_mapping()).to_mapping() == space.to_mapping()


@settings(max_examples=60)
@given(config=configs.map(nested), space=spaces)
def test_what_can_be_read_can_be_planned_or_is_refused_in_one_sentence(config, space, vae_data_root):
    spec = outcome(parse_spec, {"config": config, "space": space})
    plan = spec and outcome(make_plan, spec, vae_data_root)
    if plan:
        assert plan.resolved(plan.first) == plan.default


@given(text=texts | values.map(lambda value: yaml.safe_dump(value, allow_unicode=True)) | st.text(string.printable))
@example(text="!!python/object/apply:os.system ['touch owned']")
@example(text="a: !!python/name:os.system ''")
@example(text="a: &a [*a]")
@example(text="a: 2026-13-45")
@example(text="? {a: 1}\n: 2")
@example(text="1: 2")
@example(text="\ufeff- \x07")
def test_a_file_of_any_text_is_a_mapping_or_is_refused_in_one_sentence(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("yaml")
    file = folder / "sweep.yaml"
    file.write_text(text, encoding="utf-8", newline="")
    tree = outcome(read_yaml, file)
    if tree is not None:
        outcome(parse_spec, tree)
        outcome(parse_config, tree)
    assert list(folder.iterdir()) == [file]


comparisons = st.tuples(
    paths | st.sampled_from(["val/kl", "trial", "outcome"]),
    st.sampled_from(["<", ">=", "=", "!=", "==", " "]),
    scalars.map(str),
).map(" ".join)


@settings(max_examples=300)
@given(text=st.lists(comparisons | texts, max_size=3).map(" and ".join))
def test_a_condition_is_read_or_refused_in_one_sentence(text):
    outcome(parse_conditions, text)
