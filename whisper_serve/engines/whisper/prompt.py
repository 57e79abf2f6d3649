"""The tokens that ask a Whisper model: its languages, the text before the transcript, and what it may not say.

The tables are openai-whisper's, so every engine asks the model the same
question. To ask it something new (another kind of prompt, say), add the
tokens here.
"""

from dataclasses import dataclass

from whisper.tokenizer import Tokenizer, get_tokenizer

from whisper_serve.errors import BadRequest
from whisper_serve.text.languages import LANGUAGES, language_code
from whisper_serve.types import Options, Task

CONTEXT_TOKENS = 448  # what every Whisper's decoder holds
MAX_PREVIOUS_TOKENS = CONTEXT_TOKENS // 2  # of the text before the transcript, its start token included
MAX_NEW_TOKENS = CONTEXT_TOKENS // 2  # generated for one request
TIMESTAMP_S = 0.02  # one step of the timestamp tokens
LATEST_FIRST_TIMESTAMP_S = 1.0  # speech must begin by then, or the model invents a beginning
LATEST_FIRST_TIMESTAMP = round(LATEST_FIRST_TIMESTAMP_S / TIMESTAMP_S)  # the same, in timestamp tokens


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """How one model is asked: by its vocabulary and the languages it knows."""

    multilingual: bool
    languages: int  # how many of LANGUAGES the model knows, from the first

    def tokenizer(self, language: str | None = None, task: Task | None = None) -> Tokenizer:
        """openai-whisper's tokenizer, whose `sot_sequence` names the language and the task."""
        return get_tokenizer(self.multilingual, num_languages=self.languages, language=language, task=task)

    def language_code(self, language: str | None) -> str | None:
        """ISO 639-1 code of `language`, itself a code or an English name; None where it must be detected.

        Raises BadRequest for a language the model does not know.
        """
        if language is None:
            return None if self.multilingual else "en"
        code = language_code(language)
        if code is None:
            raise BadRequest(
                f"unknown language {language!r}: give a code ('en') or an English name ('english')"
            )
        if not self.multilingual and code != "en":
            raise BadRequest(f"this model knows English only; {language!r} needs a multilingual one")
        if code not in list(LANGUAGES)[: self.languages]:
            raise BadRequest(f"this model does not know {language!r}; a newer one does")
        return code

    def start(self, options: Options) -> tuple[int, ...]:
        """Start-of-transcript, language and task. The language is a code the model knows."""
        start: tuple[int, ...] = self.tokenizer(options.language, options.task).sot_sequence
        return start

    def previous(self, options: Options) -> tuple[int, ...]:
        """The tokens before the start: hotwords, then the prompt's last words; empty without either.

        Together they fill at most half of the decoder's context.
        """
        room = MAX_PREVIOUS_TOKENS - 1
        hotwords = self.encode(options.hotwords)[:room]
        prompt = self.encode(options.prompt)
        prompt = prompt[max(0, len(prompt) - (room - len(hotwords))) :]
        words = (*hotwords, *prompt)
        return (self.tokenizer().sot_prev, *words) if words else ()

    def encode(self, text: str) -> list[int]:
        """Text as it would stand inside a transcript; what looks like a special token is plain text."""
        if not text.strip():
            return []
        tokens: list[int] = self.tokenizer().encode(" " + text.strip(), disallowed_special=())
        return tokens

    def suppressed(self) -> list[int]:
        """Tokens that are never speech: symbols, speaker tags, and the special ones. openai-whisper's default."""
        t = self.tokenizer()
        special = (t.transcribe, t.translate, t.sot, t.sot_prev, t.sot_lm, t.no_speech)
        return sorted({*t.non_speech_tokens, *special})
