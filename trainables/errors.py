"""What a user can get wrong.

UserError               one sentence, exit code 2, never a stack trace
├── ConfigError         a configuration value: names field, value, what is allowed and the fix
├── DataError           a data set: a missing file, an array that cannot be trained on
└── StorageError        a disk that takes no more, or data and code that change under a sweep: what runs is stopped in
                        order, and nothing written is lost
"""


class UserError(Exception):
    """A user's mistake; its text is the whole message the user sees, on one line whatever it quotes."""

    exit_code = 2

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())


class ConfigError(UserError):
    """A configuration value that is not allowed."""


class DataError(UserError):
    """Data that cannot be found or cannot be trained on."""


class StorageError(UserError):
    """State that cannot be written: a full disk, a folder that is gone.

    result: what there was of a sweep that it has stopped in order, of the kind that is returned at the end; else None.
    """

    result: object = None


RESULT_KEY = "vae_tuner"
