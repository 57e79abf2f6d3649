"""What a caller asks for in, Whisper's token ids out.

The tables are openai-whisper's, so every engine asks the model the same
question. To ask it something new (another kind of prompt, say), add the
tokens here.
"""

from dataclasses import dataclass

from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE, Tokenizer, get_tokenizer

from whisper_serve.errors import BadRequest
from whisper_serve.types import Options, Task

CONTEXT_TOKENS = 448  # what every Whisper's decoder holds
LONGEST_ANSWER = CONTEXT_TOKENS // 2  # tokens of one pass; the prompt has the other half
TIMESTAMP_S = 0.02  # one step of the timestamp tokens
LATEST_FIRST_TIMESTAMP_S = 1.0  # speech must begin by then, or the pass invents a beginning


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens of one model."""

    multilingual: bool
    languages: int  # how many of openai-whisper's LANGUAGES the model knows

    def tokenizer(self, language: str | None = None, task: Task | None = None) -> Tokenizer:
        """openai-whisper's tokenizer, whose `sot_sequence` names the language and the task."""
        return get_tokenizer(self.multilingual, num_languages=self.languages, language=language, task=task)

    def code(self, language: str | None) -> str | None:
        """ISO 639-1 code of `language`, itself a code or an English name; None where it must be detected.

        Raises BadRequest for a language the model does not know.
        """
        if language is None:
            return None if self.multilingual else "en"
        name = language.strip().lower()
        code: str = TO_LANGUAGE_CODE.get(name, name)
        if not self.multilingual and code in ("en", *LANGUAGES) and code != "en":
            raise BadRequest(f"this model hears English only; {language!r} needs a multilingual one")
        if code not in list(LANGUAGES)[: self.languages]:
            raise BadRequest(f"unknown language {language!r}; use a code ('en') or a name ('english'), or leave it out")
        return code

    def previous(self, options: Options) -> tuple[int, ...]:
        """The tokens before the transcript: hotwords, then the prompt's last words; empty without either.

        Together they fill at most half of the decoder's context.
        """
        room = CONTEXT_TOKENS // 2 - 1
        hotwords = self.encode(options.hotwords)[:room]
        prompt = self.encode(options.prompt)
        prompt = prompt[max(0, len(prompt) - (room - len(hotwords))) :]
        words = (*hotwords, *prompt)
        return (self.tokenizer().sot_prev, *words) if words else ()

    def encode(self, text: str) -> list[int]:
        """Text as it would stand inside a transcript; what looks like a special token is plain text."""
        tokens: list[int] = self.tokenizer().encode(" " + text.strip(), disallowed_special=()) if text.strip() else []
        return tokens

    def suppressed(self) -> list[int]:
        """Tokens that are never speech: symbols, speaker tags, and the special ones. openai-whisper's default."""
        known = self.tokenizer()
        special = (known.transcribe, known.translate, known.sot, known.sot_prev, known.sot_lm, known.no_speech)
        return sorted({*known.non_speech_tokens, *special})
