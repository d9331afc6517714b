"""The names that a comparison goes by on the disk."""

STAGES = ("pilot", "rivals", "path", "pool", "target", "plain", "transfer", "transfer-back")
"""The sweeps of a comparison are named after it and these."""

REQUEST_FILE = "comparison.json"
