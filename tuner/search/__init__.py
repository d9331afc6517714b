"""Optuna behind Tune's interface."""
