"""The name of a trial's report on its way through Tune."""

__all__ = ["RESULT_KEY"]

RESULT_KEY = "vae_tuner"
