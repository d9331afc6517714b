import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.config.paths import known_paths, parse_config, variants
from trainables.data.dataset import data_facts, load
from trainables.errors import ConfigError, UserError
from trainables.resolve import resolve
from trainables.training.trainer import Trainer
from tuner.sweeps.metrics import METRICS
from tuner.tracking.conditions import DIAGNOSTICS, WORDS, Condition, matches, number_of, parse_conditions


def format_conditions(conditions):
    """The inverse of `parse_conditions`."""
    quoted = [(condition, condition.value.replace("'", "''")) for condition in conditions]
    return " and ".join(f"{condition.name} {condition.operator} '{value}'" for condition, value in quoted)


TRIAL = {
    "objective.kind": "elbo",
    "beta.warmup": "400 steps",
    "lr.base": "0.001",
    "lr.warmup": "0.1",
    "optimizer.clip_norm": "none",
    "model.hidden": "[400, 200]",
    "model.learn_sigma": "false",
    "data.name": "/data/it's here.npz",
    "seed": "9007199254740993",
    "trial": "0003",
    "stop_reason": "completed",
}
SMALL = {"data": {"n_train": 64}, "model": {"latent_dim": 2, "hidden": [8]}}
CPU = torch.device("cpu")

LAST = {"val/kl": 7.5, "val/mse": float("nan"), "val/elbo": -1.7976931348623157e308, "geco/lambda": 1e30}

ANY_NUMBER = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)).map(repr)
ON_METRICS = st.builds(
    Condition,
    st.sampled_from([*METRICS, *DIAGNOSTICS]),
    st.sampled_from(["<", "<=", ">", ">=", "=", "!="]),
    ANY_NUMBER.filter(lambda text: number_of(text) is not None),
)
ON_WORDS = st.builds(
    Condition, st.sampled_from([*known_paths(), *WORDS, "model.kwargs.width"]), st.sampled_from(["=", "!="]), st.text()
)


def holds(text):
    return matches(parse_conditions(text), LAST, TRIAL)


# --- laws -------------------------------------------------------------------------------------------------------------


@given(st.lists(ON_METRICS | ON_WORDS, min_size=1, max_size=4).map(tuple))
def test_what_is_written_is_read_back(conditions):
    assert parse_conditions(format_conditions(conditions)) == conditions


FRAGMENTS = [
    "val/kl", "lr.base", "method", " ", "<", "=", "!=", "!", "8", "-1e-3", "1e999", "9" * 5000, "'", '"', "geco", "and",
    " and ", "or", "(", ")", "400 steps", "٣", "\x00", "none",
]  # fmt: skip


@given(st.text() | st.lists(st.sampled_from(FRAGMENTS)).map("".join))
def test_any_text_is_conditions_or_one_sentence(text):
    try:
        conditions = parse_conditions(text)
    except UserError:
        return
    assert parse_conditions(format_conditions(conditions)) == conditions
    assert matches(conditions, LAST, TRIAL) in (True, False)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_compared_as_numbers(own, other):
    """As Python compares them, whether MLflow keeps them as metrics or as text."""
    for symbol, expected in [("<", own < other), ("<=", own <= other), ("=", own == other), ("!=", own != other)]:
        assert matches(parse_conditions(f"lr.base {symbol} {other!r}"), {}, {"lr.base": repr(own)}) == expected
        if abs(own) < 1.7e308:
            assert matches(parse_conditions(f"val/kl {symbol} {other!r}"), {"val/kl": own}, {}) == expected


@pytest.mark.parametrize(
    "tree",
    [
        *({"objective": {"kind": kind}} for kind in variants("objective")),
        *({"beta": {"kind": kind}} for kind in variants("beta")),
        {"data": {"binarize": "fixed"}},
        {"model": {"learn_sigma": True}},
        {"metrics": {"nll_samples": 2}},
    ],
    ids=str,
)
def test_whatever_a_trial_reports_can_be_asked_for(tree, vae_data_root):
    config = parse_config(
        {**{name: {**SMALL.get(name, {}), **tree.get(name, {})} for name in SMALL | tree}, "epochs": 1, "batch_size": 2}
    )
    trainer = Trainer(resolve(config, data_facts(config.data, vae_data_root)), load(config.data, vae_data_root, CPU))
    for name, value in trainer.train_epoch().metrics.items():
        assert matches(parse_conditions(f"{name} = {value!r}"), {name: value}, {})


# --- examples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "val/kl < 8 and objective.kind = elbo and lr.base >= 1e-3",
        "val/kl<8 AND objective.kind==elbo",
        "objective.kind != geco",
        "lr.base = 1e-3",
        "lr.base = '0.0010'",
        "optimizer.clip_norm = none",
        "optimizer.clip_norm != 5",
        "beta.warmup = '400 steps'",
        'beta.warmup < "401 steps"',
        "beta.warmup != 0.3",
        "model.hidden = '[400, 200]'",
        "model.learn_sigma = false",
        "data.name = '/data/it''s here.npz'",
        'data.name = "/data/it\'s here.npz"',
        "trial = 3 and trial = 0003 and trial < 4",
        "seed = 9007199254740993 and seed > 9007199254740992",
        "stop_reason = completed",
        "geco/lambda > 1e22",
    ],
)
def test_what_matches(text):
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "val/kl < 7.5",
        "lr.base >= 1e-3 and val/kl > 8",
        "optimizer.clip_norm < 5",
        "beta.warmup < 0.3",
        "lr.warmup < '400 steps'",
        "lr.base > 9",
        "beta.period != 0.25",
        "objective.kappa < 1",
        "outcome != unmet",
        "model.kwargs.width = 3",
        "val/mse != 3",
        "val/elbo < 0",
        "val/active_units >= 0",
    ],
)
def test_what_does_not_match(text):
    assert not holds(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at character 1 a metric or a configuration path is missing; an example: --where"),
        ("val/kl", "at character 7 one of <=, .* is missing"),
        ("val/kl <", "at character 9 a value is missing"),
        ("val/kl < 8 and", "at character 15 a metric or a configuration path is missing"),
        ("val/kl < < 8", "at character 10 a value is expected, not <"),
        ("val/kl 8", "at character 8 one of .* is expected, not 8"),
        ("val/kl ! 8", "at character 8 '!' is not an operator; allowed: <=, "),
        ("method = geco or method = iwae", "at character 15 `or` is not supported; join comparisons with `and`"),
        ("(val/kl < 8)", "at character 1 parentheses are not supported"),
        ("method = 'geco", "at character 10 the quote ' is not closed"),
        ("beta.warmup = 400 steps", "at character 19 `and` is expected, not steps; a value with spaces must be quoted"),
        ("val/k < 8", "'val/k' is neither a metric nor a configuration path; did you mean `val/kl`"),
        ("lr.bas < 8", "did you mean `lr.base`"),
        ("kapa < 8", "did you mean `objective.kappa`"),
        ("test/elbo > 1", "test data must not select"),
        ("val/kl = low", "val/kl is a number and cannot be compared with 'low'"),
        ("val/kl < 1e999", "val/kl is a number and cannot be compared with '1e999'"),
        (
            "objective.kind < geco",
            "objective.kind < 'geco': < and > need a number",
        ),
    ],
)
def test_a_mistake_names_its_place_and_the_way_out(text, message):
    with pytest.raises(ConfigError if "test/" not in text else UserError, match=f"^(--where|metric).*{message}"):
        parse_conditions(text)
