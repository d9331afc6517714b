"""Numbers and settings as tables and pages show them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

HYPHEN = re.compile(r"(?<![\w.−-])-(?=[\d.])")
NO_BREAK = "\N{NO-BREAK SPACE}"


def minus(text: str) -> str:
    """Hyphens before numbers as minus signs."""
    return HYPHEN.sub("\N{MINUS SIGN}", text)


def with_interval(mean: float, lo: float, hi: float, form: str = ".2f") -> str:
    """A mean, with its interval `(lo to hi)` on a line below."""
    bounds = f"({lo:{form.lstrip('+')}} to {hi:{form.lstrip('+')}})".replace(" ", NO_BREAK)
    return minus(f"{mean:{form}}\n{bounds}")


def percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f}{NO_BREAK}%"


def duration(seconds: float) -> str:
    """A time in hours, or in minutes where it is less than one hour."""
    return f"{seconds / 3_600:.2g} hours" if seconds >= 3_600 else f"{seconds / 60:.2g} minutes"


def text_of(value: Any) -> str:
    """A number to five digits; a word, a list and what is off as it is written after `--set`."""
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value, default=str)


PACKAGES = ("vae-tuner", "torch", "ray", "optuna", "mlflow")
LENGTH = 12


def versions_line(recorded: Mapping[str, str] | None = None) -> str:
    """Versions in a line. recorded: those that trained; by default those installed."""
    found = recorded or {package: version(package) for package in PACKAGES}
    return ", ".join(f"{package} {number}" for package, number in found.items())


def commit(folder: Path | None = None) -> str | None:
    """The commit of the code in a folder, by default this package's: of a checkout, with a word on changes since; of an
    installation from a repository the one it was made from; else None."""
    return _of_checkout(folder or Path(__file__).parent) or (_of_installation() if folder is None else None)


def _of_checkout(folder: Path) -> str | None:
    """Only where the checkout holds this folder's files, not a repository that an environment happens to lie in."""
    head, tracked = _git(folder, "rev-parse", "HEAD"), _git(folder, "ls-files", ".")
    if not head or not tracked:
        return None
    return head[:LENGTH] + (" with changes" if _git(folder, "status", "--porcelain", "-uno", ":/") else "")


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _of_installation() -> str | None:
    try:
        source = distribution("vae-tuner").read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    found = json.loads(source).get("vcs_info", {}).get("commit_id") if source else None
    return found[:LENGTH] if found else None
