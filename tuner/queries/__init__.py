"""From MLflow back to configurations."""
