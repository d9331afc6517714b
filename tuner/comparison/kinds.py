"""Which methods can be compared, by name; `--help` shows them, so nothing is imported here."""

METHODS = ("geco", "beta", "linear", "cyclical", "free-bits", "gqn")
