"""Replace words and phrases by others, for instance "cooper netties" by "Kubernetes".

A phrase is found as whole words, in any case, across the segments of a window. Letters of scripts that put no spaces
between words (Chinese, Japanese, Thai and others) are words by themselves, so that a phrase of theirs is found anywhere.
What is written instead is written as it was given; where it is all in lower case, the case of what was there is kept.
"""

import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate
from unicodedata import category, normalize

from whisper_serve.text.filters import script_of
from whisper_serve.types import Replacement, Segment, Word

UNSPACED = {
    "CJK",
    "HIRAGANA",
    "KATAKANA",
    "BOPOMOFO",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
    "TIBETAN",
}  # scripts
LETTER, LONE_LETTER, MARK, SPACE, OTHER = "letter", "lone letter", "mark", "space", "other"


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a letter of an unspaced script, a run of spaces, or another character."""

    key: str  # alike for all spellings that are found as the same
    start: int  # in characters of the text
    end: int


@dataclass(frozen=True, slots=True)
class Match:
    start: int  # in characters of the text
    end: int
    written: str  # what takes its place


@dataclass(slots=True)
class Node:
    """Of a trie: the tokens that may follow, and what to write where a phrase ends here."""

    following: dict[str, "Node"] = field(default_factory=dict)
    written: str | None = None


class Phrases:
    """A table of replacements, made ready; of several entries for one phrase the last counts."""

    def __init__(self, replacements: Iterable[Replacement]) -> None:
        self._root = Node()
        for replacement in replacements:
            node = self._root
            for token in tokens(replacement.phrase.strip()):
                node = node.following.setdefault(token.key, Node())
            node.written = replacement.written.strip()

    def longest(self, text: Sequence[Token], at: int) -> tuple[int, str] | None:
        """The end, in tokens, of the longest phrase that begins at a token, and what to write instead."""
        node, found = self._root, None
        for end in range(at, len(text)):
            following = node.following.get(text[end].key)
            if following is None:
                break
            node = following
            if node.written is not None:
                found = end + 1, node.written
        return found


def checked(table: dict[str, str]) -> dict[str, str]:
    """The table. ValueError for entries that cannot be found or written."""
    for phrase, written in table.items():
        if not phrase.strip() or not written.strip():
            raise ValueError(
                f"neither a phrase nor what replaces it may be empty, as in {phrase!r}: {written!r}"
            )
        if any(category(char) == "Cc" for char in phrase + written):
            raise ValueError(f"{phrase!r} has a line break or another control character in its entry")
    return table


def replaced(segments: Sequence[Segment], tables: Sequence[Phrases]) -> tuple[Segment, ...]:
    """The segments of one window, one after another, with all phrases replaced in text and words.

    Of phrases that overlap the first counts, then the longest, then that of the first table. A phrase that lies in two
    segments is written in the first; one that nothing is left of is gone. Words that are replaced by as many keep their
    times; else they share the time of all. Tokens and figures stay those of the decoder.
    """
    texts = [segment.text for segment in segments]
    found = matches("".join(texts), tables)
    if not found:
        return tuple(segments)
    spelt: list[list[Word]] = [[] for _ in segments]
    said = [(n, word) for n, segment in enumerate(segments) for word in segment.words]
    parts = [word.text for _, word in said]
    same = "".join(parts) == "".join(texts)  # else words are not known, or not all
    for first, end, text in _groups(parts, found if same else matches("".join(parts), tables)):
        spelt[said[first][0]] += _respelt([word for _, word in said[first:end]], text)
    by_word = ["".join(word.text for word in words) for words in spelt]
    new = by_word if same else _rewritten(texts, found)
    rows = zip(segments, new, spelt, strict=True)
    return tuple(_with_words(replace(s, text=text), words) for s, text, words in rows if text or not s.text)


def matches(text: str, tables: Sequence[Phrases]) -> list[Match]:
    """Phrases in a text, in order; none overlaps another. Takes time in proportion to the text's length."""
    found, split, at = [], tokens(text) if tables else [], 0
    while at < len(split):
        ends = [match for table in tables if (match := table.longest(split, at))]
        if ends:
            end, written = max(ends, key=lambda match: match[0])
            span = text[split[at].start : split[end - 1].end]
            found.append(Match(split[at].start, split[end - 1].end, _in_case(written, span)))
        at = end if ends else at + 1
    return found


def tokens(text: str) -> list[Token]:
    kinds: list[tuple[int, str]] = []  # where each token starts
    for at, char in enumerate(text):
        kind, before = _kind(char), kinds[-1][1] if kinds else OTHER
        if kind == MARK:
            continues = before in (LETTER, LONE_LETTER)
        else:
            continues = kind == before and kind in (LETTER, SPACE)
        if not continues:
            kinds.append((at, kind))
    bounds = [*(at for at, _ in kinds), len(text)]
    return [
        Token(" " if kind == SPACE else normalize("NFKC", text[at:end]).casefold(), at, end)
        for (at, kind), end in zip(kinds, bounds[1:], strict=True)
    ]


@lru_cache(maxsize=8192)
def _kind(char: str) -> str:
    if char.isspace():
        return SPACE
    if script_of(char) in UNSPACED:
        return LONE_LETTER
    return {"L": LETTER, "N": LETTER, "M": MARK}.get(category(char)[0], OTHER)


def _in_case(written: str, span: str) -> str:
    """Names keep their own capitals; what has none takes those of the text."""
    if written != written.lower():
        return written
    if span.isupper() and len(span) > 1:
        return written.upper()
    return written[0].upper() + written[1:] if span[0].isupper() else written


def _rewritten(texts: Sequence[str], found: Sequence[Match]) -> list[str]:
    """The texts with all matches replaced, each in the text in which it begins, with the marks that follow it."""
    starts, new = [0, *accumulate(map(len, texts))], list(texts)
    for match in reversed(found):
        first, last = bisect_right(starts, match.start) - 1, bisect_left(starts, match.end) - 1
        rest = new[last][match.end - starts[last] :]
        if last > first:
            attached = _attached(rest)
            new[first + 1 : last + 1] = [*[""] * (last - first - 1), rest[attached:]]
            rest = rest[:attached]
        new[first] = new[first][: match.start - starts[first]] + match.written + rest
    return new


def _attached(rest: str) -> int:
    """How many characters belong to the word before: all up to a space, or a letter that is a word by itself."""
    ends = (t.start for t in tokens(rest) if t.key == " " or _kind(rest[t.start]) == LONE_LETTER)
    return next(ends, len(rest))


def _groups(texts: Sequence[str], found: Iterable[Match]) -> Iterator[tuple[int, int, str]]:
    """Ranges of texts, as few as matches hold together, each with its new text."""
    whole, starts, pending = "".join(texts), [0, *accumulate(map(len, texts))], deque(found)
    first = 0
    while first < len(texts):
        end, at, parts = first + 1, starts[first], []
        while pending and pending[0].start < starts[end]:
            match = pending.popleft()
            parts += [whole[at : match.start], match.written]
            at = match.end
            while starts[end] < at:
                end += 1
        yield first, end, "".join([*parts, whole[at : starts[end]]])
        first = end


def _respelt(words: Sequence[Word], text: str) -> list[Word]:
    """The words of a new text, in the time of the old ones."""
    if len(words) == 1 and words[0].text == text:
        return [*words]
    parts = re.findall(r"\s*\S+(?:\s+$)?", text)
    if len(parts) == len(words):
        return [replace(word, text=part) for word, part in zip(words, parts, strict=True)]
    start, seconds = words[0].start, words[-1].end - words[0].start
    bounds = [start + seconds * length / len(text) for length in accumulate(map(len, parts), initial=0)]
    probability = min(word.probability for word in words)
    return [
        replace(words[0], start=bounds[i], end=bounds[i + 1], text=part, probability=probability)
        for i, part in enumerate(parts)
    ]


def _with_words(segment: Segment, words: Sequence[Word]) -> Segment:
    """The segment with other words. Its ends move with those that it got from the next one, or gave to the one before."""
    if not words or not segment.words:
        return segment
    taken = words[0].start > segment.words[0].start
    start, end = words[0].start if taken else segment.start, max(segment.end, words[-1].end)
    return replace(segment, start=start, end=end, words=tuple(words))
