"""Any Whisper model as an engine: windows are checked, prepared one by one, and decoded in batches."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Generic

import numpy as np

from whisper_serve.engines import Outcome
from whisper_serve.engines.whisper.batch_decoder import decode_batch
from whisper_serve.engines.whisper.model import Features, WhisperModel
from whisper_serve.engines.whisper.prompt import PromptTokens
from whisper_serve.engines.whisper.request import LEAD_IN_S, DecodeRequest, in_context, with_lead_in
from whisper_serve.errors import BadAudio, BadRequest
from whisper_serve.types import WINDOW_S, Options, Window


class WhisperEngine(Generic[Features]):
    def __init__(self, model: WhisperModel[Features], lead_in_s: float = LEAD_IN_S) -> None:
        """lead_in_s: silence that the model is shown in front of sound which begins at once."""
        self.model = model
        self.lead_in_s = lead_in_s
        self.name, self.workers, self.largest_batch = model.name, model.workers, model.largest_batch

    def batch_key(self, window: Window) -> Hashable:
        return self.model.batch_key(window.options)

    def prepare(self, window: Window) -> DecodeRequest:
        """Raises BadRequest, BadAudio."""
        options = check(window, self.model.prompt)
        prompt = self.model.prompt
        check_language = window.check_language and prompt.multilingual
        request = DecodeRequest(
            window.samples, 0.0, options, prompt.previous(options), check_language=check_language
        )
        request = in_context(with_lead_in(request, self.lead_in_s), self.model.adaptive)
        return replace(request, encoded=self.model.encode(request))

    def transcribe(self, batch: Sequence[DecodeRequest]) -> list[Outcome]:
        return [*decode_batch(self.model, batch)]

    def gpu_memory_gb(self) -> float:
        return self.model.gpu_memory_gb()


def check(window: Window, prompt: PromptTokens) -> Options:
    """The window's options with its languages as codes. Raises BadRequest, BadAudio."""
    if window.seconds > WINDOW_S:
        raise BadRequest(f"a window of {window.seconds:.1f} s; the model takes {WINDOW_S:.0f} s at a time")
    if not np.isfinite(window.samples).all():
        raise BadAudio("the recording holds samples that are not finite numbers")
    options = window.options
    allowed = [prompt.language_code(language) for language in options.languages if prompt.multilingual]
    return replace(
        options,
        language=prompt.language_code(options.language),
        languages=tuple(code for code in allowed if code),
    )
