"""What each model takes: the table in guide.md, measured where weights could be had and computed from parameters elsewhere."""

from dataclasses import dataclass

from whisper_serve.config.memory import LOADED_BYTES, LOADED_MB, PARAMETERS_M, REST_MB, USED_BYTES, USED_MB


@dataclass(frozen=True, slots=True)
class Measured:
    disk_mb: float  # all files of the model
    audio_s: float  # transcribed in a second on two cores: 32 callers, loadtest/results/load-*.md


MEASURED = {"tiny.en": Measured(152, 139), "base": Measured(148, 74)}
MODELS = ("tiny.en", "tiny", "base", "small", "medium", "turbo", "large-v3")
WEIGHT_BYTES = 2  # of a parameter on disk, in float16


def sizes_table() -> str:
    rows = [
        "| model | parameters | disk, MB | a replica, loaded, MB | after long use, MB | the service, 2 replicas, GB "
        "| s of audio a second, 2 cores |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    return "\n".join([*rows, *map(_row, MODELS), ""])


def _row(model: str) -> str:
    parameters = PARAMETERS_M[model.removesuffix(".en")]
    used = USED_MB + USED_BYTES * parameters
    cells = [
        f"`{model}`",
        f"{parameters} M",
        _disk(model, parameters),
        f"{LOADED_MB + LOADED_BYTES * parameters}",
        f"{used}",
        f"{(REST_MB + 2 * used) / 1000:.1f}",
        _speed(model, parameters),
    ]
    return f"| {' | '.join(cells)} |"


def _disk(model: str, parameters: int) -> str:
    known = MEASURED.get(model)
    return f"**{known.disk_mb:g}**" if known else f"{WEIGHT_BYTES * parameters:,}"


def _speed(model: str, parameters: int) -> str:
    """In inverse proportion to the parameters, from base's, where it was not measured."""
    if known := MEASURED.get(model):
        return f"**{known.audio_s:g}**"
    computed = MEASURED["base"].audio_s * PARAMETERS_M["base"] / parameters
    return f"{computed:.{0 if computed >= 10 else 1}f}"
