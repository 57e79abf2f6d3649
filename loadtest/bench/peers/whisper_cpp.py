"""whisper.cpp by pywhispercpp, in the number type that its users have (f16), greedy, best of one."""

from pathlib import Path

from loadtest.bench.child import Start, samples_of
from loadtest.bench.ggml import as_ggml
from loadtest.common.client import LANGUAGE, Ask
from loadtest.common.clips import Clip


def load(start: Start) -> Ask:
    from pywhispercpp.model import Model  # not on every platform

    model = Model(
        str(as_ggml(Path(start.weights))),
        redirect_whispercpp_logs_to=None,
        n_threads=start.threads,
        language=LANGUAGE,
        greedy={"best_of": 1},
        print_progress=False,
        print_realtime=False,
        no_timestamps=not start.timestamps,
    )

    def ask(clip: Clip) -> str:
        return " ".join(segment.text.strip() for segment in model.transcribe(samples_of(clip)))

    return ask
