"""Methods against each other on the user's own data: what is trained, and what may be said of it."""
