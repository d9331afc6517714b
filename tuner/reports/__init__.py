"""One self-contained page for what was found: it works from disk, without scripts and without a request."""
