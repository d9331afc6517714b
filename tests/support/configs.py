"""The configuration of a trial, where any will do."""

from trainables.config import TrialConfig
from trainables.config.paths import plain

__all__ = ["ANY"]

ANY = plain(TrialConfig())
