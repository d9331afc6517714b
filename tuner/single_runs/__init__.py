"""One configuration trained alone."""
