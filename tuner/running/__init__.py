"""A plan run to its end, stopped, resumed."""
