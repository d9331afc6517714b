"""PyTorch VAEs, trained right: configuration, schedules, objectives, metrics, and one pure train step.

Imports neither Optuna nor MLflow; Ray only in `trainables.worker.ray_tune`.
"""
