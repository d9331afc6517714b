"""The best model under a name that lives on: MLflow's model registry, without code that could be executed."""

import re
from dataclasses import dataclass
from shlex import quote

from trainables.config.paths import suggest
from trainables.credentials import shown
from trainables.errors import UserError
from tuner.tracking.artifact_root import located
from tuner.tracking.best import BestTrial
from tuner.tracking.mlflow_store import MlflowClient, MlflowException, RegisteredModel, Tag, is_missing
from tuner.tracking.reachability import open_existing
from tuner.tracking.run_artifacts import require_artifact
from tuner.tracking.store_errors import in_a_sentence

ALIAS = "champion"

_SCHEME = "models:/"
_NAME = re.compile(r"(?=.*\S)(?!\.{1,2}$)[^/:@\x00-\x1f]{1,256}")  # MLflow's rules, and what `NAME@ALIAS` needs
_URI = re.compile(rf"{_SCHEME}(?P<name>[^/@]+)(?:@(?P<alias>[\w-]+)|/(?:(?P<version>[0-9]{{1,9}})|latest))?", re.ASCII)


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model. is_new: whether it was made just now, and not an earlier time."""

    name: str
    version: int
    alias: str
    is_new: bool

    @property
    def uri(self) -> str:
        """What `tuner.load` takes."""
        return f"{_SCHEME}{self.name}@{self.alias}"


def check_model_name(name: str) -> None:
    """Raises UserError for a name that cannot be registered."""
    if not _NAME.fullmatch(name):
        raise UserError(f"--register {name!r}: a model's name has 1 to 256 characters, and no '/', ':' or '@'")


@in_a_sentence
def register(uri: str, row: BestTrial, name: str) -> ModelVersion:
    """Make a trial's run the newest version of a registered model, if it is none yet, and move `champion` to it.

    Raises UserError for a name that is not allowed, a run without a checkpoint or whose configuration is not what was
    run, and where MLflow refuses.
    """
    from trainables.files.trial_files import FILE_NAME

    check_model_name(name)
    row.require_config()
    client = open_existing(uri)
    require_artifact(client, client.get_run(row.run_id), FILE_NAME)
    try:
        _ensure_model(client, name)
        known = _versions_of(client, name, row.run_id)
        version = max(known, default=0) or _new_version(client, row, name)
        client.set_registered_model_alias(name, ALIAS, str(version))
    except MlflowException as error:
        raise UserError(f"--register {name!r}: MLflow refuses: {' '.join(str(error).split())}") from None
    return ModelVersion(name, version, ALIAS, is_new=not known)


def _ensure_model(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _versions_of(client: MlflowClient, name: str, run_id: str) -> list[int]:
    """The versions of a model that a run is already."""
    found = client.search_model_versions(f"run_id = '{run_id}'")
    return [int(version.version) for version in found if version.name == name]


def _new_version(client: MlflowClient, row: BestTrial, name: str) -> int:
    tags = {
        Tag.SWEEP: row.sweep,
        Tag.TRIAL: row.trial,
        Tag.METHOD: row.method,
        Tag.METRIC: row.metric,
        Tag.VALUE: repr(row.metrics[row.metric]),
    }
    source = located(client.tracking_uri, client.get_run(row.run_id).info.artifact_uri)
    return int(client.create_model_version(name, source, row.run_id, tags).version)


# --- the way back -----------------------------------------------------------------------------------------------------


def is_model_uri(source: str) -> bool:
    return source.startswith(_SCHEME)


@in_a_sentence
def run_of(uri: str, source: str) -> str:
    """The run behind `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `models:/NAME`, which is the latest version.

    Raises UserError for a model, version or alias that is not there, naming those that are.
    """
    match = _URI.fullmatch(source)
    if match is None:
        raise UserError(
            f"{source!r} names no registered model; write models:/NAME@ALIAS, models:/NAME/VERSION or models:/NAME"
        )
    client, name = open_existing(uri), match["name"]
    model = _registered(client, name)
    latest = max((int(version.version) for version in model.latest_versions), default=0)
    version = _aliased(model, match["alias"]) if match["alias"] else int(match["version"] or latest)
    try:
        run_id = client.get_model_version(name, str(version)).run_id
    except MlflowException as error:
        if not is_missing(error):
            raise
        raise UserError(f"model {name!r} has no version {version}; its latest is {latest}") from None
    if not run_id:
        raise UserError(f"version {version} of model {name!r} was not made from a run; `best --register` does that")
    return str(run_id)


def _registered(client: MlflowClient, name: str) -> RegisteredModel:
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if not is_missing(error):
            raise
        known = sorted(model.name for model in client.search_registered_models())
        hint = suggest(name, known) if known else f"; `vae-tuner best --register {quote(name)}` registers one"
        raise UserError(f"model {name!r} is not registered in {shown(client.tracking_uri)}{hint}") from None


def _aliased(model: RegisteredModel, alias: str) -> int:
    if alias not in model.aliases:
        known = ", ".join(sorted(model.aliases)) or "none"
        raise UserError(f"model {model.name!r} has no alias {alias!r}; known: {known}")
    return int(model.aliases[alias])
