"""The names of configuration fields: paths to and from trees, and parsing with errors that name them."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from trainables.config import DEFAULT_KIND, TrialConfig, kind_in
from trainables.config.models import USER_MODEL, is_argument_name, is_user_kind
from trainables.credentials import HIDDEN, is_secret_path
from trainables.errors import ConfigError

KWARGS = "model.kwargs"
"""The one field with fields of the user's own below it."""


def variants(family: str) -> dict[str, type[BaseModel]]:
    """The variants of a family by kind, without a user's own.

    Parameters
    ----------
    family
        `model`, `objective`, `beta`, `lr` or `optimizer`.

    Returns
    -------
    dict of str to type
        Its configuration classes.

    Examples
    --------
    >>> list(variants("objective"))
    ['elbo', 'free-bits', 'geco', 'iwae']
    """
    return {kind: cls for kind, cls in _kinds(family).items() if kind != USER_MODEL}


def _kinds(family: str) -> dict[str, type[BaseModel]]:
    """The variants of a family by kind; a user's own, whose kind names a function, under what it looks like."""
    fields = {cls: cls.model_fields["kind"] for cls in _section_classes(family)}
    return {USER_MODEL if field.is_required() else field.default: cls for cls, field in fields.items()}


def _section_classes(name: str) -> list[type[BaseModel]]:
    return list(_model_classes(TrialConfig.model_fields[name].annotation))


def _model_classes(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not None:
        for argument in get_args(annotation):
            yield from _model_classes(argument)


@cache
def known_paths() -> tuple[str, ...]:
    """Every path a configuration can have, over all kinds, in order of declaration."""
    paths: dict[str, None] = {}
    for name in TrialConfig.model_fields:
        classes = _section_classes(name)
        fields = [f"{name}.{field}" for cls in classes for field in sorted(cls.model_fields, key="kind".__ne__)]
        paths |= dict.fromkeys(fields or [name])
    return tuple(paths)


def field_of(path: str) -> str:
    """The configuration field that a path lies in: `model.kwargs.width` in `model.kwargs`, every other path in itself.

    Parameters
    ----------
    path
        As `lr.base`.

    Returns
    -------
    str
        A path of the configuration.
    """
    return KWARGS if path.startswith(f"{KWARGS}.") else path


def is_known(path: str) -> bool:
    """Whether a configuration of some kind has this path.

    Parameters
    ----------
    path
        As `lr.base`.

    Returns
    -------
    bool
        False for a name that is misspelled.
    """
    return field_of(path) in known_paths()


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree by paths; sections that are empty or None (β under GECO) are left out.

    Parameters
    ----------
    tree
        Nested plain data.
    prefix
        Of every path, with its dot.

    Returns
    -------
    dict of str to value
        By path.

    Raises
    ------
    ConfigError
        The name of a user's argument cannot be part of a path, or a path is given twice.

    Examples
    --------
    >>> flatten({"lr": {"base": 1}, "beta": None})
    {'lr.base': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if prefix.startswith(f"{KWARGS}.") and not is_argument_name(key):
            raise ConfigError(
                f"{prefix[:-1]}: {key!r} is not allowed as the name of an argument; allowed: letters, digits, _ and -"
            )
        if isinstance(value, Mapping) and (value or not prefix):
            found = flatten(value, f"{prefix}{key}.")
        else:
            found = {} if value is None and prefix == "" and key == "beta" else {f"{prefix}{key}": value}
        if twice := flat.keys() & found.keys():
            path = min(twice)
            raise ConfigError(f"{path} is given twice, by its path and inside its section; remove one of the two")
        flat |= found
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`.

    Parameters
    ----------
    flat
        Values by path.

    Returns
    -------
    dict
        Nested plain data.

    Raises
    ------
    ConfigError
        A path has a parent that is set to a value.

    Examples
    --------
    >>> unflatten({"lr.base": 1, "epochs": 5})
    {'lr': {'base': 1}, 'epochs': 5}
    """
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *sections, field = path.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{path}: its parent is already set to a value; remove one of the two")
        node[field] = {} if value == {} else value
    return tree


def suggest(word: str, known: Sequence[str]) -> str:
    """`; did you mean …?` with the nearest known word, or all of them where none is near.

    Parameters
    ----------
    word
        As the user wrote it.
    known
        The words that are allowed.

    Returns
    -------
    str
        The end of a message.

    Examples
    --------
    >>> suggest("gecko", ["elbo", "geco"])
    '; did you mean `geco`?'
    """
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6) or [
        path for path in known if difflib.get_close_matches(word, [path.rpartition(".")[2]], n=1, cutoff=0.7)
    ]
    return f"; did you mean `{near[0]}`?" if near else f"; known: {', '.join(known)}"


def plain(config: TrialConfig) -> dict[str, Any]:
    """A configuration as nested plain data, as files hold it.

    Parameters
    ----------
    config
        A TrialConfig.

    Returns
    -------
    dict
        Safe for JSON and YAML.

    Examples
    --------
    >>> plain(TrialConfig())["objective"]
    {'kind': 'elbo', 'samples': 1}
    """
    return written(config.model_dump(mode="json"))


def written(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's tree as files hold it: `kind` first, and no section that is None (β under GECO).

    Parameters
    ----------
    tree
        Nested plain data.

    Returns
    -------
    dict
        With the same values.
    """
    return {name: _kind_first(section) for name, section in tree.items() if section is not None}


def _kind_first(section: Any) -> Any:
    return {"kind": section["kind"], **section} if isinstance(section, dict) and "kind" in section else section


def parse_config(tree: Mapping[str, Any]) -> TrialConfig:
    """A configuration from nested plain data.

    Parameters
    ----------
    tree
        Sections and fields, as in YAML; what is left out has its default.

    Returns
    -------
    TrialConfig
        Checked; values of `auto` are worked out later, with the data.

    Raises
    ------
    ConfigError
        In one line: the field, its value, and what is allowed.

    Examples
    --------
    >>> parse_config({"lr": {"base": "1e-4"}}).lr.base
    0.0001
    >>> parse_config({"lr": {"bse": 1e-4}})
    Traceback (most recent call last):
    trainables.errors.ConfigError: unknown key `lr.bse`; did you mean `lr.base`?
    """
    try:
        return TrialConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(list(error.errors()), tree))) from None


def _explain(details: list[Any], tree: Mapping[str, Any]) -> list[str]:
    sentences, others = [], []
    for detail in details:
        path = _path_of(detail["loc"])
        if detail["type"] == "extra_forbidden":
            sentences.append(_unknown_key(path, tree))
        elif detail["type"] == "union_tag_invalid":
            tag = str(detail["ctx"]["tag"])
            sentences.append(f"{path}.kind: {tag!r} is unknown{suggest(tag, list(_kinds(path)))}")
        elif detail["type"] == "value_error" and isinstance(detail["input"], Mapping):
            message = _allowed(detail["msg"])
            sentences.append(f"{path}: {message}" if path else message)
        else:
            others.append((path, detail))
    return sentences + not_allowed(others)


def not_allowed(details: Sequence[tuple[str, Any]]) -> list[str]:
    """One sentence for each field, with what the alternatives of the field allow, joined by `or`.

    Parameters
    ----------
    details
        Pairs of a path and pydantic's detail.

    Returns
    -------
    list of str
        Secrets are hidden.
    """
    allowed: dict[str, list[str]] = {}
    for path, detail in details:
        value = HIDDEN if is_secret_path(path) else _shown(detail["input"])
        allowed.setdefault(f"{path}: {value} is not allowed", []).append(_allowed(detail["msg"]))
    return [f"{start}; allowed: {' or '.join(messages)}" for start, messages in allowed.items()]


def _path_of(location: Sequence[int | str]) -> str:
    """The path of a field in pydantic's location, which also names the kind and the alternative of a union tried."""
    parts = [str(part) for part in location]
    if len(parts) > 1 and parts[0] in DEFAULT_KIND:
        del parts[1]
    return ".".join(part for part in parts if "[" not in part)


def _allowed(message: str) -> str:
    """What pydantic says is allowed, without how it tried."""
    message = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return re.sub(", (unable to|got a) .*", "", message)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return f"{json.dumps(value)} (YAML reads yes, no, on, off as booleans; the word for off is `none`)"
    return (
        json.dumps(value, default=str)
        if isinstance(value, str | int | float | bool | list | tuple) or value is None
        else str(value)
    )


def _unknown_key(path: str, tree: Mapping[str, Any]) -> str:
    """A key that exists nowhere, under another kind only, or at another place."""
    section, _, field = path.partition(".")
    if path not in known_paths():
        return f"unknown key `{path}`{suggest(path, _paths_beside(section, tree))}"
    if field in _fields(section, tree):
        return f"`{path}` is not nested; write {section}: {{{field}: …}}"
    owners = [kind for kind, cls in _kinds(section).items() if field in cls.model_fields]
    return f"`{path}` does not exist under {section}.kind {kind_in(tree, section)}; it belongs to {' or '.join(owners)}"


def _paths_beside(section: str, tree: Mapping[str, Any]) -> list[str]:
    """What could stand in a section; or the sections."""
    return [f"{section}.{field}" for field in _fields(section, tree)] or list(TrialConfig.model_fields)


def _fields(section: str, tree: Mapping[str, Any]) -> list[str]:
    """The fields of a section, of its chosen kind where it has kinds."""
    classes = _section_classes(section) if section in TrialConfig.model_fields else []
    if section in DEFAULT_KIND:
        chosen = kind_in(tree, section)
        tag = USER_MODEL if is_user_kind(chosen) else chosen
        classes = [cls for kind, cls in _kinds(section).items() if kind == tag]
    return [field for cls in classes for field in cls.model_fields]
