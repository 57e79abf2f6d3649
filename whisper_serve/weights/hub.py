"""Download a file from the Hugging Face hub with the hub's own library.

Its environment variables apply: HF_ENDPOINT (a mirror), HF_TOKEN, HF_HOME and
HF_HUB_CACHE (a copy found in the cache is used, nothing is added to it),
HF_HUB_OFFLINE.
"""

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any, cast

from whisper_serve.errors import WeightsError
from whisper_serve.weights.catalog import Hub
from whisper_serve.weights.files import Report, Target, has_sha256

TIMEOUT_S = 5  # to connect, and between two chunks; a download that breaks off is resumed up to five times
# The library reads these when it is imported; whoever sets one decides. Without Xet it downloads by plain HTTP.
SETTINGS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DOWNLOAD_TIMEOUT": str(TIMEOUT_S),
}


class Progress:
    """What the library takes for a progress bar: it is created for each download and updated at each chunk."""

    def __init__(self, what: str, report: Report, *, total: int | None, initial: int, **_: object) -> None:
        self.total = total or 0  # bytes
        self.done = initial  # bytes
        self.report = partial(report, what)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, size: int) -> None:
        self.done += size
        self.report(self.done, self.total)


def save(origin: Hub, target: Target) -> None:
    """Write the file to `target.part`, from the hub's cache or the network. Raises WeightsError."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from huggingface_hub import is_offline_mode, try_to_load_from_cache  # after the settings

    cached = try_to_load_from_cache(origin.repository, origin.file, revision=origin.revision)
    if isinstance(cached, str) and has_sha256(Path(cached), target.sha256):
        shutil.copyfile(cached, target.part)
    elif is_offline_mode():
        raise WeightsError("HF_HUB_OFFLINE is set, and the hub's cache does not have the file")
    else:
        os.replace(_download(origin, target), target.part)


def _download(origin: Hub, target: Target) -> str:
    """Into the scratch folder. `force_download`: without it an unreachable hub is tried for minutes."""
    from httpx2 import HTTPError, InvalidURL
    from huggingface_hub import hf_hub_download

    try:
        return hf_hub_download(
            origin.repository,
            origin.file,
            revision=origin.revision,
            local_dir=target.scratch / origin.repository,
            force_download=True,
            etag_timeout=TIMEOUT_S,
            tqdm_class=cast(Any, partial(Progress, str(origin), target.report)),
        )
    except (HTTPError, InvalidURL, ValueError) as e:
        raise WeightsError(_reason(e)) from e
    except OSError as e:
        if e.errno is not None:  # of the disk
            raise
        raise WeightsError(_reason(e)) from e


def _reason(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, ValueError) and error.__cause__ else error
    return " ".join(str(cause).split()) or type(cause).__name__
