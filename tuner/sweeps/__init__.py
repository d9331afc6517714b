"""A sweep as data: its file, its journal, what that amounts to, where it is kept, and by whom."""
