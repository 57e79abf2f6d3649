"""Names that settings have in the project's first documents and in services like it, each with ours.

To add one: a row here, and `make docs`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OtherName:
    names: tuple[str, ...]
    setting: str | None  # ours
    how: str  # what to write instead, or why there is no such setting


OTHER_NAMES = (
    OtherName(("MODEL_PATH",), "model.size", "a Whisper name, or the path of weights"),
    OtherName(
        ("USE_GPU",),
        "model.device",
        '`"cuda"` for true, `"cpu"` for false; `"auto"` takes a GPU if there is one',
    ),
    OtherName(
        ("GPU_DEVICES", "CUDA_VISIBLE_DEVICES"),
        None,
        "`CUDA_VISIBLE_DEVICES` in the environment (not in `.env`) is respected as it is; how many replicas share "
        "a GPU follows from `deployment.gpu_per_replica`",
    ),
    OtherName(
        ("MAX_PARALLEL_WORKERS",),
        "server.max_parallel_windows",
        "windows of one recording that are transcribed at once; `deployment.num_replicas` says by how many replicas",
    ),
    OtherName(
        ("USE_PARALLEL_TRANSCRIPTION",),
        "server.max_parallel_windows",
        "`1` for false; a single request can send `use_parallel=false`",
    ),
    OtherName(
        ("MAX_CONCURRENT_JOBS",),
        "server.max_queued_audio_s",
        "requests are bounded by the seconds of their audio, not by their number",
    ),
    OtherName(
        ("CHUNK_TIMEOUT",),
        "server.request_timeout_s",
        "the time is a request's, not a chunk's; `server.request_timeout_per_audio_s` adds to it by length",
    ),
    OtherName(
        ("WHISPER__MODEL_INSTANCES_PER_MODEL", "MODEL_INSTANCES_PER_MODEL"),
        "deployment.num_replicas",
        "each replica has the model in memory",
    ),
    OtherName(
        ("WHISPER__MAX_CONCURRENT_JOBS",),
        "deployment.num_replicas",
        "on CPUs each replica runs `deployment.cpu_per_replica` batches at once, at least one",
    ),
    OtherName(("WHISPER__ENABLE_CPU_AFFINITY", "ENABLE_CPU_AFFINITY"), "deployment.cpu_affinity", "the same"),
    OtherName(
        ("WHISPER__USE_PROCESS_POOL", "USE_PROCESS_POOL"), None, "every model replica is a process of its own"
    ),
    OtherName(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"),
        "deployment.cpu_per_replica",
        "a replica uses as many threads as it has whole CPUs, at least one; the variables need not be set",
    ),
    OtherName(("ENABLE_REST",), None, "the REST API is always served"),
    OtherName(
        ("ENABLE_WEBSOCKET",), None, "results are streamed as server-sent events: `POST /transcribe/stream`"
    ),
    OtherName(
        ("temperature",),
        "quality.temperatures",
        "the first try is at 0, the next ones at the higher temperatures of the list; a request can send its own",
    ),
    OtherName(("no_speech_threshold",), "quality.no_speech_threshold", "the same"),
    OtherName(("logprob_threshold",), "quality.logprob_threshold", "the same"),
    OtherName(
        ("condition_on_previous_text",),
        None,
        "windows are independent, so it is always off; `prompt` gives context",
    ),
    OtherName(
        ("energy threshold", "zero-crossing threshold"),
        "vad.method",
        '`"energy"` decides by both, with the values 0.005 and 50',
    ),
)
