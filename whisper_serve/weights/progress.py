"""A progress bar for downloads, on standard error."""

import sys

from tqdm import tqdm


class ProgressBar:
    """It appears with the first byte."""

    def __init__(self) -> None:
        self.bar: tqdm[None] | None = None

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def report(self, what: str, done: int, total: int) -> None:
        if self.bar is None:
            self.bar = tqdm(total=total, unit="B", unit_scale=True, file=sys.stderr)
        self.bar.set_description(what, refresh=False)
        self.bar.total = total
        self.bar.update(done - self.bar.n)
