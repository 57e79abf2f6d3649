"""Why a run cannot be made, in one sentence for whoever asked for it."""


class CannotRun(Exception):
    """Exit code 2: nothing was measured."""
