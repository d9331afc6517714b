"""Ray as this project starts it: quiet, and no larger than the sweep needs."""

from __future__ import annotations

import io
import logging
import math
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from types import ModuleType
from typing import Any, TextIO

from trainables.cores import allotted_cores
from trainables.errors import StorageError
from tuner.cluster.own_sessions import end_sessions, in_own_sessions
from tuner.cluster.ray_folder import RayFolder, base_folder
from tuner.cluster.worker_environment import seen_by_workers

OBJECT_STORE_BYTES = 100 * 2**20
NETWORKED = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
TOLD = (
    "A worker died or was killed",
    "killed due to the node running low on memory",
    "has been marked dead",
    "Raylet is terminated",
)

TUNE = "ray.tune"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

TOKENS = "RAY_AUTH_MODE"

_folder: RayFolder | None = None
_tokens: str | None = None
"""Whether to ask for tokens, as it was before Ray started here."""
_loud: tuple[int, dict[str, str]] | None = None
"""The level of Tune's log and the variables of the environment, as they were."""


class _WithoutTold(io.TextIOBase):
    """A stream that leaves out what Ray says of lost workers and nodes: the journal tells it in a sentence."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._mute = stream, False

    def write(self, text: str) -> int:
        if text != "\n":  # which `print` writes after each message
            self._mute = any(told in text for told in TOLD)
        if not self._mute:
            with suppress(OSError):  # nobody reads it any more; the search goes on
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


@contextmanager
def stdout_on_stderr() -> Iterator[None]:
    """Ray prints to file descriptor 1 whatever it is told; results alone belong there.

    A thread beside the main one leaves it alone: what the process prints meanwhile is not a sweep's.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with suppress(OSError):
        sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(_WithoutTold(sys.stderr)):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def quiet_ray() -> None:
    """Set before Ray is started; what the user set stays. What goes wrong in a trial is told by the journal."""
    global _loud
    if _loud is None:
        _loud = logging.getLogger(TUNE).level, {name: value for name, value in os.environ.items() if _is_tunes(name)}
    logging.getLogger(TUNE).setLevel(logging.CRITICAL)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # With a searcher, Tune lets one trial wait for its actor; all that run at once shall start at once, however many a
    # growing cluster takes: an autoscaler sees them all.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(10**9)


def quiet_no_more() -> None:
    """What `quiet_ray` set, and Tune itself, is as before."""
    global _loud
    if _loud is None:
        return
    (level, before), _loud = _loud, None
    logging.getLogger(TUNE).setLevel(level)
    for name in [name for name in os.environ if _is_tunes(name) and name not in before]:
        del os.environ[name]
    os.environ.update(before)


def _is_tunes(name: str) -> bool:
    return name in QUIET or name.startswith("TUNE_")


def start_ray(cpus: float, storage: str) -> None:
    """Start Ray on this machine, for this machine, its processes without secrets but for the keys of a storage.

    cpus: what its trials take at once; it has the cores that are allotted where those are more.

    Raises StorageError where its processes do not come up.
    """
    global _folder, _tokens
    import ray

    base, _tokens = base_folder(), os.environ.get(TOKENS)
    try:
        _folder = RayFolder()
        with _listening_locally(), in_own_sessions(), _seeing_what_they_need(storage), _without_servants():
            ray.init(
                address="local",  # another Ray on this machine, or RAY_ADDRESS, is not asked for
                num_cpus=max(allotted_cores().n, math.ceil(cpus)),
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(_folder.path),
            )
    except Exception as error:  # a bare one where its processes take too long
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        end_ray()
        raise StorageError(
            f"Ray cannot be started: {first}; is its folder full (RAY_TMPDIR, here {base}), or this machine overloaded?"
        ) from None


def end_ray() -> None:
    """End Ray as `start_ray` has started it; nothing of it is left on the disk, or in this process's environment."""
    global _folder
    import ray

    ray.shutdown()
    if _tokens is None:
        _ask_for_no_token()
    end_sessions()
    if _folder is not None:
        _folder.remove()
        _folder = None


def _ask_for_no_token() -> None:
    """As before Ray started here. Ray asks for a token then, and goes on to do so as long as the process lives: on a
    cluster without tokens it would start no actor, and one that it starts would ask for a token. It has no public way
    back."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    os.environ.pop(TOKENS, None)
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _without_servants() -> Iterator[None]:
    """Ray starts without its autoscaler, its reader of logs and its dashboard, which comes up also where none is asked
    for: three processes that take 2.5 s of a core, one of which it waits for. Ray has no setting for that."""
    from ray._private import parameter, services, utils

    with (
        _replaced(parameter, "RayParams", partial(parameter.RayParams, no_monitor=True, include_log_monitor=False)),
        _replaced(services, "start_api_server", lambda *_, **__: ("", None)),
        _replaced(utils, "get_dashboard_dependency_error", lambda: ImportError("there is no dashboard")),
    ):
        yield


@contextmanager
def _replaced(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


@contextmanager
def _seeing_what_they_need(storage: str) -> Iterator[None]:
    """Ray's processes, and with them the workers, are given what a trial needs of this environment, which stays as it
    is: other threads read it. Ray has no setting for that."""
    from ray._private import services

    before = services.ConsolePopen

    def started(*command: Any, env: Mapping[str, str], **options: Any) -> Any:
        return before(*command, env=seen_by_workers(env, storage), **options)

    with _replaced(services, "ConsolePopen", started):
        yield


@contextmanager
def _listening_locally() -> Iterator[None]:
    """Ray's servers listen on 127.0.0.1, as on macOS and Windows, unless the user's own setting says otherwise.

    Given that address it would look for another. It reads the setting when it is imported, its processes read it anew.
    """
    from ray._private import ray_constants

    if NETWORKED in os.environ:
        yield
        return
    os.environ[NETWORKED] = "0"
    try:
        with _replaced(ray_constants, "ENABLE_RAY_CLUSTER", False):
            yield
    finally:
        del os.environ[NETWORKED]
