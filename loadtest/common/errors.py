"""The error that ends a run before anything was measured."""


class CannotRun(Exception):
    """Exit code 2: nothing was measured. The message is one sentence for whoever asked."""
