"""Decide the language of a recording whose language was not given: that of its first words that are kept.

With `multilingual`, each window has its own. Where another language than the given or decided one is surely spoken, a
warning says so.
"""

from dataclasses import replace

from whisper_serve.text.filters import Thresholds
from whisper_serve.text.languages import LANGUAGES
from whisper_serve.transcription.temperature_fallback import another_is_spoken
from whisper_serve.types import Options, Window, WindowResult


class LanguagePolicy:
    """The language of one recording.

    Until it is settled, windows detect their own, so that several can be transcribed at once. Windows that begin
    later are given it; windows that began earlier and found another language are to be transcribed again.
    """

    def __init__(self, options: Options, thresholds: Thresholds) -> None:
        self.language = options.language  # ISO 639-1; None until it is settled
        self._given = options.language is not None
        self._multilingual = options.multilingual
        self._thresholds = thresholds

    def settle(self, result: WindowResult) -> None:
        """Take the language of a result whose words were kept, unless there is one. To be called in order."""
        if not self._multilingual:
            self.language = self.language or result.language

    def with_language(self, window: Window) -> Window:
        return replace(window, options=replace(window.options, language=self.language))

    def language_differs(self, window: Window, result: WindowResult | None) -> bool:
        """Whether a window detected its own language, and it is not that of the recording."""
        if self.language is None or window.options.language is not None or result is None:
            return False
        return result.language != self.language

    def with_warning(self, result: WindowResult) -> WindowResult:
        """The result, with a warning where another language is spoken than it was transcribed in."""
        if not another_is_spoken(result, self._thresholds):
            return result
        taken, spoken = (LANGUAGES[code].title() for code in (result.language, result.spoken_language))
        how, what_to_do = "detected", "multilingual=true detects the language of each part"
        if self._given:
            how, what_to_do = "given", "without a language it is detected"
        warning = (
            f"the language was {how} as {taken}, but {spoken} is spoken and words may be wrong: {what_to_do}"
        )
        return replace(result, warnings=(*result.warnings, warning))
