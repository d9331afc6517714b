"""What a run was trained with: its file `config.yaml`, held to by a digest in the tag `vae_tuner.config`.

MLflow's parameters are for filters and for the eye: they are cut at 6,000 characters, and can be edited or deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from shlex import quote
from typing import TYPE_CHECKING, Any

import yaml

from trainables.config import TrialConfig
from trainables.config.paths import parse_config, written
from trainables.errors import UserError
from tuner.sweeps.tracking_uri import cause_of
from tuner.sweeps.yaml_files import parse_yaml
from tuner.tracking.mlflow_store import Tag
from tuner.tracking.run_files import RunFiles

if TYPE_CHECKING:
    from tuner.tracking.mlflow_store import MlflowClient, Run

CONFIG = "config.yaml"
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # five times faster, where PyYAML was built with it


def config_text(tree: Mapping[str, Any]) -> str:
    """A configuration's tree as the text of `config.yaml`."""
    text: str = yaml.dump(written(tree), Dumper=_DUMPER, sort_keys=False, allow_unicode=True)
    return text


def config_digest(tree: Mapping[str, Any]) -> str:
    """SHA-256 of a tree as JSON with sorted keys, in hex: of what it says, not of how it is laid out, and of the fields
    it has, not of those that a later version adds."""
    return hashlib.sha256(json.dumps(written(tree), sort_keys=True).encode()).hexdigest()


def is_same_config(text: str, digest: str) -> bool:
    """Whether a text of `config.yaml` says what a digest was taken of."""
    try:
        return config_digest(parse_yaml(text, CONFIG)) == digest
    except (UserError, TypeError):  # what is no mapping, or holds what JSON does not
        return False


def config_of(client: MlflowClient, run: Run) -> TrialConfig:
    """The configuration that a run was trained with.

    A run of an earlier version has no digest; its file, which only trials that completed have, is taken as it is.
    Raises UserError, in one sentence with the run and the way out, where there is no file, where it cannot be read, or
    where it is not what the digest was taken of.
    """
    files, digest = RunFiles(client, run.info.artifact_uri), run.data.tags.get(Tag.CONFIG)
    try:
        text = files.text(CONFIG) if CONFIG in files.names() else None
    except Exception as error:  # whatever the store of artifacts raises
        raise UserError(f"{CONFIG} of {_named(run)} cannot be read: {cause_of(error)}") from None
    if text is None:
        raise UserError(f"{_named(run)} has no {CONFIG}, which says what was trained; {_way_out(run)}")
    if digest is not None and not is_same_config(text, digest):
        raise UserError(
            f"{CONFIG} of {_named(run)} is not what was trained: it does not match tag {Tag.CONFIG}; {_way_out(run)}"
        )
    return parse_config(parse_yaml(text, f"{CONFIG} of {_named(run)}"))


def _named(run: Run) -> str:
    tags = run.data.tags
    trial = f" (trial {tags[Tag.TRIAL]} of sweep {tags[Tag.SWEEP]})" if Tag.TRIAL in tags else ""
    return f"run {run.info.run_id}{trial}"


def _way_out(run: Run) -> str:
    tags = run.data.tags
    if tags.get(Tag.KIND) == "trial":
        return f"`vae-tuner sync {quote(tags[Tag.SWEEP])}` sends it from the sweep's journal"
    return "train the configuration again"
