"""Data sets as the trainer sees them."""
