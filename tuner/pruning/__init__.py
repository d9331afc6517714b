"""Which trials go on, as pure functions of the journal."""
