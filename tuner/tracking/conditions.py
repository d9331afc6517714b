"""Conditions on trials: `val/kl < 8 and objective.kind = geco and lr.base >= 1e-3`.

    expression := comparison ("and" comparison)*
    comparison := name operator value
    name       := a metric, a configuration path, or one of outcome, stop_reason, trial, method
    operator   := "<" | "<=" | ">" | ">=" | "=" | "==" | "!="
    value      := a word or number as it stands, or quoted: 'it''s 400 steps', "400 steps"

MLflow keeps parameters as text, so values are text here too, and are compared as what they spell: numbers as numbers,
`N steps` as steps, lists (`[256,128]`) as lists, all else word by word; `none` is the word for off. What a trial does
not have never matches.
"""

from __future__ import annotations

import contextlib
import json
import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainables.config.paths import known_paths, suggest
from trainables.errors import ConfigError
from trainables.values import parse_duration, steps_of
from tuner.sweeps.metrics import METRICS, direction_of, is_usable

DIAGNOSTICS = (
    "epoch",
    "geco/constraint",
    "geco/lambda",
    "geco/lambda_median",
    "geco/val_violation",
    "geco/violation",
    "geco/violation_se",
    "schedule/beta",
    "schedule/lr",
    "schedule/sigma_eq",
    "train/grad_norm",
    "train_eval/mse",
    "val/mi_cap",
    "val/mi_saturated",
    "val/nll_bias",
    "val/nll_drop",
)
"""What is reported beside the metrics one can rank by."""

WORDS = ("outcome", "stop_reason", "trial", "method")
EXAMPLE = "val/kl < 8 and objective.kind = geco"

_OPERATORS = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_TOKEN = re.compile(
    r"""(?P<operator><=|>=|==|!=|<|>|=)"""
    r"""|(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*")"""
    r"""|(?P<word>[^\s<>=!'"()]+)"""
)
_PARTS = (
    (("word",), "a metric or a configuration path"),
    (("operator",), f"one of {', '.join(_OPERATORS)}"),
    (("word", "quoted"), "a value"),
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Condition:
    """name: of a metric, a configuration path or one of WORDS. operator: `=` also where `==` was written."""

    name: str
    operator: str
    value: str


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


# --- text to conditions and back --------------------------------------------------------------------------------------


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """The comparisons of an expression; raises ConfigError with the position of what is wrong and an example."""
    tokens = _tokens(text)
    found = [_comparison(tokens[:3], text)]
    for start in range(3, len(tokens), 4):
        _require_and(tokens[start])
        found.append(_comparison(tokens[start + 1 : start + 4], text))
    return tuple(found)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while rest := text[at:].lstrip():
        at = len(text) - len(rest)
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(text, at)
        tokens.append(_Token(str(match.lastgroup), match[0], at))
        at = match.end()
    return tokens


def _unreadable(text: str, at: int) -> ConfigError:
    if text[at] in "()":
        return _malformed(at, "parentheses are not supported; join comparisons with `and`")
    if text[at] in "'\"":
        return _malformed(at, f"the quote {text[at]} is not closed")
    return _malformed(at, f"{text[at]!r} is not an operator; allowed: {', '.join(_OPERATORS)}")


def _comparison(tokens: Sequence[_Token], text: str) -> Condition:
    for i, (kinds, what) in enumerate(_PARTS):
        if i == len(tokens):
            raise _malformed(len(text.rstrip()), f"{what} is missing")
        if tokens[i].kind not in kinds:
            raise _malformed(tokens[i].at, f"{what} is expected, not {tokens[i].text}")
    name, comparator, value = tokens
    condition = Condition(name.text, comparator.text.replace("==", "="), _unquoted(value))
    _check(condition)
    return condition


def _unquoted(token: _Token) -> str:
    quote = token.text[0]
    return token.text[1:-1].replace(2 * quote, quote) if token.kind == "quoted" else token.text


def _require_and(token: _Token) -> None:
    if token.text.lower() == "or":
        raise _malformed(token.at, "`or` is not supported; join comparisons with `and`, or ask twice")
    if token.kind != "word" or token.text.lower() != "and":
        raise _malformed(token.at, f"`and` is expected, not {token.text}; a value with spaces must be quoted")


def _malformed(at: int, what: str) -> ConfigError:
    return ConfigError(f'--where: at character {at + 1} {what}; an example: --where "{EXAMPLE}"')


def _check(condition: Condition) -> None:
    name, value = condition.name, condition.value
    known = [*METRICS, *DIAGNOSTICS, *known_paths(), *WORDS]
    if name.startswith("test/"):
        direction_of(name)
    if name not in known and not name.startswith("model.kwargs."):
        raise ConfigError(f"--where: {name!r} is neither a metric nor a configuration path{suggest(name, known)}")
    if is_metric(name) and number_of(value) is None:
        raise ConfigError(f"--where: {name} is a number and cannot be compared with {value!r}")
    if condition.operator not in ("=", "!=") and _quantity(value) is None:
        raise ConfigError(
            f"--where: {name} {condition.operator} {value!r}: < and > need a number or a duration ('400 steps'); "
            "allowed for words: = and !="
        )


# --- what matches -----------------------------------------------------------------------------------------------------


def matches(conditions: Sequence[Condition], metrics: Mapping[str, float], words: Mapping[str, str]) -> bool:
    """Whether a trial meets all conditions.

    metrics: of its last epoch. words: its parameters, and those of WORDS it has, as text.
    """
    return all(_holds(condition, metrics if is_metric(condition.name) else words) for condition in conditions)


def is_metric(name: str) -> bool:
    return name in METRICS or name in DIAGNOSTICS


def _holds(condition: Condition, values: Mapping[str, Any]) -> bool:
    value = values.get(condition.name)
    if value is None or (isinstance(value, float) and not is_usable(value)):
        return False
    compare = _OPERATORS[condition.operator]
    own, other = _quantity(value), _quantity(condition.value)
    if own and other and own[0] == other[0]:
        return bool(compare(own[1], other[1]))
    return condition.operator in ("=", "!=") and bool(compare(_spelt(value), _spelt(condition.value)))


def _spelt(text: Any) -> Any:
    """What a parameter's text spells where it is JSON: a list, or a word in quotes."""
    if isinstance(text, str) and text.startswith(("[", '"')):
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(text)
    return text


def _quantity(value: str | float) -> tuple[str, float] | None:
    """The unit and the number of what has an order: a bare number, or steps."""
    number = number_of(value) if isinstance(value, str) else value
    if number is not None:
        return "", number
    try:
        duration = parse_duration(value)
    except ValueError:
        return None
    return ("steps", steps_of(duration, 0)) if isinstance(duration, str) else None


def number_of(text: str) -> float | None:
    """The finite number that a text spells, integers exactly; None where it spells none."""
    if _INTEGER.fullmatch(text):
        return int(text)
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None
