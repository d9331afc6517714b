"""Values of configuration fields: when two are the same, how YAML means them, and how a message shows them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from trainables.config.paths import KWARGS, field_of
from trainables.errors import ConfigError


def shown(value: Any) -> str:
    """A value as a message quotes it.

    Parameters
    ----------
    value
        Plain data.

    Returns
    -------
    str
        A float in short, anything else as JSON.

    Examples
    --------
    >>> shown(0.10), shown("sqrt")
    ('0.1', '"sqrt"')
    """
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, default=str)


def key_of(value: Any) -> Hashable:
    """A key that equal values share: 1 and 1.0, and lists of these; 1 and true have different ones.

    Parameters
    ----------
    value
        Plain data.

    Returns
    -------
    Hashable
        For sets and dictionaries.

    Examples
    --------
    >>> key_of(1) == key_of(1.0), key_of(1) == key_of(True)
    (True, False)
    """
    if isinstance(value, Mapping):
        return tuple((name, key_of(below)) for name, below in sorted(value.items()))
    return tuple(map(key_of, value)) if isinstance(value, list | tuple) else (isinstance(value, bool), value)


def same(one: Any, other: Any) -> bool:
    """Whether two values, or two assignments, are equal as `key_of` compares them.

    Parameters
    ----------
    one, other
        Plain data.

    Returns
    -------
    bool
        False for 1 and true.
    """
    return key_of(one) == key_of(other)


def among(value: Any, values: Iterable[Any]) -> bool:
    """Whether a value is one of these, as `same` compares them.

    Parameters
    ----------
    value, values
        Plain data.

    Returns
    -------
    bool
        False without values.
    """
    return any(same(value, other) for other in values)


def finite_number(value: Any, role: str = "bound") -> float:
    """A number, also where it was written as a word.

    Parameters
    ----------
    value
        Plain data.
    role
        What a message calls it.

    Returns
    -------
    float
        Finite.

    Raises
    ------
    ConfigError
        It is not a finite number.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{role} {shown(value)} is not a finite number")
    return number


def whole_number(value: Any) -> int:
    """A whole number, also where it was written as a word.

    Parameters
    ----------
    value
        Plain data.

    Returns
    -------
    int
        The bound.

    Raises
    ------
    ConfigError
        It is not a whole number.
    """
    number = finite_number(value)
    if not number.is_integer():
        raise ConfigError(f"bound {shown(value)} is not a whole number; use float")
    return int(number)


def read_number(word: Any) -> Any:
    """A number that YAML left a string (`1e-4`) as a number; anything else as it is.

    Parameters
    ----------
    word
        Plain data.

    Returns
    -------
    object
        An int, a float, or `word`.

    Examples
    --------
    >>> read_number("1e-4"), read_number("8"), read_number("sqrt")
    (0.0001, 8, 'sqrt')
    """
    for convert in (int, float):
        try:
            number = convert(word) if isinstance(word, str) else math.nan
        except ValueError:
            continue
        if math.isfinite(number):
            return number
    return word


def read_value(path: str, value: Any) -> Any:
    """A value of a field as YAML meant it: `1e-4`, which YAML leaves a word, is a number.

    The arguments of a user's model keep the type they were written in: there `"8"` stays a word.

    Parameters
    ----------
    path, value
        Of the configuration field.

    Returns
    -------
    object
        The value.
    """
    if isinstance(value, list | tuple):
        return [read_value(path, below) for below in value]
    is_argument = field_of(path) == KWARGS
    return value if is_argument and not _UNREAD_NUMBER.fullmatch(str(value)) else read_number(value)


_UNREAD_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]+")


def checked_option(value: Any) -> Any:
    """A value that a choice can have.

    Parameters
    ----------
    value
        Plain data.

    Returns
    -------
    object
        The value, with lists in place of tuples.

    Raises
    ------
    ConfigError
        It is neither a number, a word, true, false, null nor a list of them.
    """
    if isinstance(value, list | tuple):
        return [checked_option(below) for below in value]
    if value is not None and not isinstance(value, bool | str | int | float):
        raise ConfigError(
            f"option {shown(value)} is neither a number, a word, true, false, null nor a list of them; give a deeper "
            "value a path of its own"
        )
    if isinstance(value, float):
        finite_number(value, "option")
    return value


def checked_options(values: Any) -> tuple[Any, ...]:
    """The values that a choice or a condition lists.

    Parameters
    ----------
    values
        A list, or one value alone.

    Returns
    -------
    tuple
        Of `checked_option`.

    Raises
    ------
    ConfigError
        As `checked_option`.
    """
    return tuple(map(checked_option, values if isinstance(values, list | tuple) else [values]))


def words(values: Iterable[Any]) -> str:
    """Values as one would write them, with `|` between them.

    Parameters
    ----------
    values
        Plain data.

    Returns
    -------
    str
        For a message.

    Examples
    --------
    >>> words([32, "sqrt", True, [256, 128]])
    '32 | sqrt | true | [256, 128]'
    """
    return " | ".join(map(word, values))


def word(value: Any) -> str:
    """A value as one would write it.

    Parameters
    ----------
    value
        Plain data.

    Returns
    -------
    str
        For a message.
    """
    return value if isinstance(value, str) else shown(value)
