"""Decide the language of a recording whose language was not given: that of its first words that are kept."""

from dataclasses import replace

from whisper_serve.types import Window, WindowResult


class LanguagePolicy:
    """The language of one recording.

    Until it is settled, windows detect their own, so that several can be transcribed at once. Windows that begin
    later are given it; windows that began earlier and found another language are to be transcribed again.
    """

    def __init__(self, language: str | None) -> None:
        self.language = language  # ISO 639-1; None until it is settled

    def settle(self, result: WindowResult) -> None:
        """Take the language of a result whose words were kept, unless there is one. To be called in order."""
        self.language = self.language or result.language

    def with_language(self, window: Window) -> Window:
        return replace(window, options=replace(window.options, language=self.language))

    def language_differs(self, window: Window, result: WindowResult | None) -> bool:
        """Whether a window detected its own language, and it is not that of the recording."""
        if self.language is None or window.options.language is not None or result is None:
            return False
        return result.language != self.language
