"""YAML as its readers mean it: loaded safely, no key twice, and numbers as in YAML 1.2.

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

__all__ = ["parse_yaml", "parse_yaml_value", "read_yaml"]

MOST_VALUES = 100_000
OWN = "x-"
"""What the writer's own keys start with."""

_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
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
        """Raises ConfigError for a key that stands twice; what `<<` brings along may be written anew."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in lines:
                first = lines[key.value]
                raise ConfigError(
                    f"`{key.value}` stands in line {first} and again in line {line}; leave one of the two out"
                )
            lines[key.value] = line
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MOST_VALUES:
            raise _TooManyValuesError


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
        raise ConfigError(f"{name} is no valid YAML: {' '.join(str(error).split())}") from None
    except (LookupError, AttributeError, TypeError):
        raise ConfigError(f"{name} is no valid YAML: a value is not of the type that its tag (!!…) names") from None
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
