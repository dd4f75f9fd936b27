"""The errors of a step whose input the user can correct."""


class StepError(SystemExit):
    """An input that a step refuses: the message says what was found and what is allowed.

    It is a `SystemExit`, so that the message is the last line of the step's log, without a traceback.
    """


class NoRowsError(StepError):
    """A file of data that has no rows, or not even a header."""
