"""What a run was trained on and with, as tags of MLflow."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from trainables.identity import NAMES, Identity, parse_identity
from tuner.tracking.mlflow_store import Tag


def identity_tags(identity: Identity) -> dict[str, str]:
    """What is known of a run's identity; its code is that of its own model."""
    versions = {name: identity.versions[name] for name in NAMES if name in identity.versions}
    tags = {
        Tag.DATA: identity.data,
        Tag.CODE: ", ".join(identity.code.values()),
        Tag.VERSIONS: json.dumps(versions) if versions else None,
    }
    return {tag: text for tag, text in tags.items() if text}


def identity_of(tags: Mapping[str, str], kind: str) -> Identity:
    """The inverse of `identity_tags`, for a run of a model of this kind."""
    code = {kind: tags[Tag.CODE]} if Tag.CODE in tags else {}
    return parse_identity({"data": tags.get(Tag.DATA), "code": code, "versions": json_of(tags, Tag.VERSIONS)})


def json_of(tags: Mapping[str, str], tag: str) -> dict[str, Any]:
    """A tag's JSON object; empty where it has none, or somebody wrote something else there."""
    with contextlib.suppress(json.JSONDecodeError):
        found = json.loads(tags.get(tag, "{}"))
        return found if isinstance(found, dict) else {}
    return {}
