"""The error that a person who runs a pipeline can act on."""


class StepError(SystemExit):
    """Ends a step with one sentence, which names what was given and what is allowed.

    It is a `SystemExit`, so that the sentence is the last line of the step's log instead of a traceback.
    """
