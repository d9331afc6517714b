"""Where sweeps are kept, and by whom."""
