"""Names of secrets: in URIs and in texts that quote them, in environments and in specs. One list for all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from trainables.errors import ConfigError

HIDDEN = "***"
_NAME = re.compile(
    r"passw(?:or)?d|passphrase|pwd|secret(?!ar)|token(?!s|iz)|credential|signature|authori[sz]ation|jwt"
    r"|(?:api|access|account|auth|master|private|shared|ssh|ssl)[-_]?(?:key|token)s?(?![a-z])"
    r"|(?<![a-z])key(?![-_]?[a-z])|(?<![a-z])(?:pass|sig|sas|auth)(?![a-z])",
    re.IGNORECASE,
)
# A user before the host, of which Azure's container and SSH's account are none; a password may hold what elsewhere ends
# a host.
_USER = re.compile(r"((?<!abfs)(?<!abfss)(?<!ssh)://)[^/?#\n]{0,1000}@|(://)[^/?#@:\s]{0,1000}:[^@\s]{0,1000}@")
OWN_NAMES = ("kwargs", "tags")
"""Below these names are a user's own; elsewhere `key` is a field."""
_WHERE_IT_IS = re.compile(r"[-_](?:env|file|path|var|variable)$", re.IGNORECASE)
_LEAST_NUMBER = 10_000
"""Smaller ones are sizes, as in `key: 64`."""
_SEPARATORS = re.compile(r"[?&;#\s]")


def is_secret_name(name: str) -> bool:
    """Whether a variable or a parameter of this name holds a secret: `PGPASSWORD`, `sslkey`, `X-Amz-Signature`, `sig`;
    not `keyboard`, `monkey`, `key_dim`, `max_tokens`, `design`, `author`."""
    return _NAME.search(name) is not None


def shown(text: str) -> str:
    """A URI, or a text that quotes one, as it may be printed: `***` for a user and for every value with a secret's
    name, percent-encoded ones and those within a value (`odbc_connect=…PWD=…`) too; not for folders (`/runs/key=3`).

    >>> shown("postgresql://me:hush@host/db?sslmode=require&sslkey=hush")
    'postgresql://***@host/db?sslmode=require&sslkey=***'
    """
    return re.sub(r"\S+", lambda word: _masked(word[0]), _without_user(text))


def shown_uris(text: str) -> str:
    """A text of ours in which only URIs may hold a secret, as it may be printed."""
    return re.sub(r"\S*://\S*", lambda uri: shown(uri[0]), text)


def holds_secret(uri: str) -> bool:
    """Whether a URI must not be written down: `shown` would hide something of it."""
    return shown(uri) != uri


def check_no_secrets(tree: Mapping[str, Any]) -> None:
    """Raise ConfigError with the path of a secret in a spec or a configuration, as nested plain data.

    A secret is a text or a key of which `shown` would hide something, or a value with a secret's name among tags and
    arguments of a model. `api_key_env: MY_KEY` and `password_file: /run/pw` only say where a secret is, and are
    allowed.
    """
    if path := next(_secrets_in(tree), None):
        raise ConfigError(
            f"{path} holds a name, a password or a key, which the journal and MLflow would show; leave it out, and "
            "give it to the environment of the process that needs it"
        )


def _secrets_in(value: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(value, Mapping | list | tuple):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in pairs:
            if holds_secret(str(key)):
                yield ".".join((*path, shown(str(key))))
            yield from _secrets_in(part, (*path, str(key)))
    elif (isinstance(value, str) and holds_secret(value)) or (is_secret_path(".".join(path)) and _may_be_secret(value)):
        yield ".".join(path)


def is_secret_path(path: str) -> bool:
    """Whether the value at a path is a secret by its name: `tracking.tags.api_key`; not `data.key`, a field."""
    names = path.split(".")
    own = next((names[n + 1 :] for n, name in enumerate(names) if name in OWN_NAMES), [])
    return any(is_secret_name(name) and not _WHERE_IT_IS.search(name) for name in own)


def _may_be_secret(value: Any) -> bool:
    if isinstance(value, str):
        return value != ""
    return isinstance(value, int) and value >= _LEAST_NUMBER


def _without_user(text: str) -> str:
    return _USER.sub(lambda found: f"{found[1] or found[2]}{HIDDEN}@", text)


def _masked(word: str) -> str:
    """A word without blanks. Where only its decoded form shows a secret, everything after the scheme is hidden."""
    masked = "&".join(map(_masked_pair, _without_user(word).split("&")))
    plain = _decoded(masked)
    if plain == masked or not _tells(plain):
        return masked
    return f"{masked.partition('://')[0]}://{HIDDEN}" if "://" in masked else HIDDEN


def _masked_pair(text: str) -> str:
    """Of a text without `&`, whose first pair has the rest as its value."""
    before = ""
    while True:
        left, equals, value = text.partition("=")
        name = _SEPARATORS.split(left)[-1]
        if not equals or "/" not in name:
            hides = equals and (is_secret_name(_decoded(name)) or _tells(_decoded(value)))
            return f"{before}{left}{equals}{HIDDEN if hides else value}"
        before, text = f"{before}{left}=", value


def _tells(plain: str) -> bool:
    """Whether a decoded text has a user, or a value with a secret's name."""
    return _without_user(plain) != plain or any(map(_is_secret_pair, _SEPARATORS.split(plain)))


def _is_secret_pair(piece: str) -> bool:
    name, equals, value = piece.partition("=")
    return bool(equals) and value != HIDDEN and "/" not in name and is_secret_name(name)


def _decoded(text: str) -> str:
    """Percent-decoded until nothing is left to decode."""
    while (plain := unquote(text)) != text:
        text = plain
    return text
