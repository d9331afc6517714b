"""YAML as its readers mean it: loaded safely, no key twice, and numbers that are what they look like.

`yes`, `no`, `on` and `off` are booleans, as in YAML 1.1 and not 1.2: `flag: no` is no text that counts as true. Where a
text is asked for, they are refused with the word for off, `none`. `010` is 10 and `1:30` a text, as in 1.2; `08` is a
text, which is 8 where a number is asked for.

A key that starts with `x-` at the top level is the writer's own, for anchors:

    x-short: &short {epochs: 5}
    config: {<<: *short, batch_size: 64}
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from trainables.errors import ConfigError

MOST_VALUES = 100_000
OWN = "x-"
"""What the writer's own keys start with."""

_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
UNBUILT = ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")
"""Of the keys `<<` and `=`, which mean no value."""
LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")


class _TooManyValuesError(Exception):
    pass


class _Loader(yaml.SafeLoader):
    """`010` is 10 and not 8, `1:30` is a text and not 90."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        is_time = tag in (_INT, _FLOAT) and SEXAGESIMAL.fullmatch(value)
        return self.DEFAULT_SCALAR_TAG if is_time else tag

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if LEADING_ZERO.fullmatch(node.value):
            return int(node.value.replace("_", ""))
        return super().construct_yaml_int(node)

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """Raises ConfigError for a key that stands twice, also as `yes` and `true` or `1` and `1.0`; what `<<` brings
        along may be written anew."""
        node = super().compose_mapping_node(anchor)
        firsts: dict[Any, yaml.ScalarNode] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            for meaning in (("text", key.value), ("value", self._meaning(key))):
                if (first := firsts.setdefault(meaning, key)) is not key:
                    raise ConfigError(_twice(first, key))
        return node

    def _meaning(self, key: yaml.ScalarNode) -> Any:
        return key.value if key.tag in UNBUILT else self.construct_object(key)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MOST_VALUES:
            raise _TooManyValuesError


def _twice(first: yaml.ScalarNode, second: yaml.ScalarNode) -> str:
    one, other = first.start_mark.line + 1, second.start_mark.line + 1
    if first.value == second.value:
        return f"`{first.value}` is in line {one} and again in line {other}; leave one of the two out"
    return (
        f"`{first.value}` in line {one} and `{second.value}` in line {other} are the same key; leave one of the two out"
    )


_Loader.add_constructor(_INT, _Loader.construct_yaml_int)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping, without the writer's own keys."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist; give the path of a YAML file, or start one with `vae-tuner init`"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """The same of a text. name: what errors call it."""
    tree = parse_yaml_value(text, name)
    if not isinstance(tree, dict):
        raise ConfigError(f"{name} must hold `key: value` lines, not {type(tree).__name__}")
    return {key: value for key, value in tree.items() if not str(key).startswith(OWN)}


def parse_yaml_value(text: str, name: str) -> Any:
    """A value of any kind."""
    try:
        value = yaml.load(text, _Loader)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
    except _TooManyValuesError:
        raise _too_many(name) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: of a date that is none
        raise ConfigError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from None
    except (LookupError, AttributeError, TypeError):
        raise ConfigError(f"{name} is not valid YAML: a value does not have the type of its tag (!!…)") from None
    _check_size(name, value)
    return value


def _check_size(name: str, value: Any) -> None:
    """Refuse what aliases multiply beyond measure, or refer to from within itself."""
    waiting, seen = [value], 0
    while waiting:
        found = waiting.pop()
        seen += 1
        if seen > MOST_VALUES:
            raise _too_many(name)
        if isinstance(found, dict | list):
            waiting += found.values() if isinstance(found, dict) else found


def _too_many(name: str) -> ConfigError:
    return ConfigError(f"{name} holds more than {MOST_VALUES:,} values with its aliases (*) written out")
