from dataclasses import replace

import pytest
from pydantic import ValidationError

from whisper_serve.config.model import Quality
from whisper_serve.text.filters import FILTERS, Thresholds, clean
from whisper_serve.types import Segment

# As the base model transcribes them: a clear clip, one it is unsure of, an empty room, a repetitive text.
SURE = Segment(0.0, 3.0, "", avg_logprob=-0.3, compression_ratio=1.2, no_speech_prob=0.02)
UNSURE = Segment(0.0, 3.0, "", avg_logprob=-0.8, compression_ratio=0.8, no_speech_prob=0.5)
EMPTY_ROOM = Segment(0.0, 2.0, "", avg_logprob=-1.3, compression_ratio=0.3, no_speech_prob=0.74)
REPETITIVE = Segment(0.0, 2.0, "", avg_logprob=-0.2, compression_ratio=9.4, no_speech_prob=0.1)


def verdict(
    segment: Segment, text: str, language: str | None = "en", last: Segment | None = None
) -> str | None:
    return clean(replace(segment, text=text), last, language, FILTERS)


def again(segment: Segment, text: str, pause: float = 0.0) -> str | None:
    """The verdict on a segment that says the same as the last kept one."""
    last = replace(segment, text=text)
    start = last.end + pause
    return clean(replace(last, start=start, end=start + 3), last, "en", ["repetition"])


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (" And so, my fellow Americans, ask not what your country can do for you.", "en"),
        (" No, no, no!", "en"),
        (" Yes.", "en"),
        (" Let it be, let it be, let it be, let it be.", "en"),
        (" Thank you, Mr. President, thank you, Mr. President.", "en"),
        (" You.", "en"),
        (" Thank you.", "en"),
        (" Thank you for watching the dogs while we were away.", "en"),
        (" 1... 2... 3...", "en"),
        (" $5.00!", "en"),
        (" 50%", "en"),
        (" (laughs) Okay.", "en"),
        (" ♪ We all live in a yellow submarine ♪", "en"),
        (" C'est l'été, n'est-ce pas ?", "fr"),
        (" Untertitel sind hier wichtig.", "de"),
        (" Спасибо за внимание к этой проблеме.", "ru"),
        (" Редактор субтитров сегодня заболел.", "ru"),
        (" Улыбнулся и Генрих. Это и впрямь забавно.", "ru"),
        (" Мы купили iPhone 15 Pro Max.", "ru"),
        (" Microsoft Office", "ru"),
        ("OK、ではGoogle Cloudで始めましょう。", "ja"),
        ("人々はコーヒーを飲む。", "ja"),
        ("广州市房地产中介协会分析", "zh"),
        (" 대한민국(大韓民國)의 수도는 서울이다.", "ko"),
        (" नमस्ते, आप कैसे हैं?", "hi"),
        (" สวัสดีครับ วันนี้อากาศดีมาก", "th"),
        (" Добро došli u Beograd.", "sr"),
        (" Das ist α und β.", "de"),
        (" Guten Morgen.", None),
    ],
)
def test_what_was_said_is_kept(text: str, language: str | None) -> None:
    assert verdict(SURE, text, language) is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (" Subtitles by the Amara.org community", "en"),
        (" Untertitel im Auftrag des ZDF für funk, 2017", "de"),
        (" Untertitelung des ZDF, 2020", "de"),
        (" Untertitel der Amara.org-Community", "en"),
        (" Sous-titres réalisés par la communauté d'Amara.org", "fr"),
        (" Sous-titrage Société Radio-Canada", "fr"),
        (" Sous-titrage ST' 501", "fr"),
        (" Sottotitoli creati dalla comunità Amara.org", "la"),
        (" Subtítulos realizados por la comunidad de Amara.org", "es"),
        (" Legendas pela comunidade Amara.org", "pt"),
        (" Napisy stworzone przez społeczność Amara.org", "pl"),
        (" Ondertitels ingediend door de Amara.org gemeenschap", "nl"),
        (" Редактор субтитров А.Синецкая Корректор А.Егорова", "ru"),
        (" Субтитры сделал DimaTorzok", "ru"),
        ("字幕由Amara.org社区提供", "zh"),
        ("请不吝点赞 订阅 转发 打赏支持明镜与点点栏目", "zh"),
    ],
)
def test_credits_are_dropped_however_sure_the_model_is(text: str, language: str) -> None:
    assert verdict(SURE, text, language) == "phrases"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (" Thanks for watching!", "en"),
        (" THANK YOU.", "en"),
        (" you", "en"),
        (" Vielen Dank fürs Zuschauen!", "de"),
        (" Merci d'avoir regardé cette vidéo !", "fr"),
        (" ¡Gracias por ver el video!", "es"),
        (" Grazie per la visione.", "it"),
        (" Obrigado por assistir!", "pt"),
        (" Dziekuje za oglądanie.", "pl"),
        (" MUZIEK.", "nl"),
        (" Продолжение следует...", "ru"),
        (" Дякую за перегляд!", "uk"),
        (" İzlediğiniz için teşekkürler.", "tr"),
        ("ご視聴ありがとうございました。", "ja"),
        (" 시청해주셔서 감사합니다.", "ko"),
        ("謝謝觀看", "zh"),
        (" Thank you.", "fi"),
    ],
)
def test_farewells_are_dropped_only_where_the_model_doubts_them(text: str, language: str) -> None:
    assert verdict(UNSURE, text, language) == "phrases"
    assert verdict(SURE, text, language) is None


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"avg_logprob": -1.0}, None),
        ({"avg_logprob": -1.01}, "phrases"),
        ({"no_speech_prob": 0.3}, None),
        ({"no_speech_prob": 0.31}, "phrases"),
    ],
)
def test_the_model_doubts_what_is_unlikely_or_may_be_silence(
    figures: dict[str, float], reason: str | None
) -> None:
    assert verdict(replace(SURE, **figures), " Thank you.") == reason  # type: ignore[arg-type]


def test_a_farewell_inside_a_sentence_is_kept_even_in_doubt() -> None:
    assert verdict(UNSURE, " Thank you for watching my house last week.") is None


def test_a_short_word_counts_as_a_farewell_only_in_its_own_language() -> None:
    assert verdict(UNSURE, " Tak.", "da") == "phrases"
    assert verdict(UNSURE, " Tak.", "pl") is None


@pytest.mark.parametrize(
    "text", ["", " .", " ...", " !!!!", " ♪♪♪", " [Music]", " (applause)", " - - - a", "【音楽】"]
)
def test_text_without_letters_is_dropped(text: str) -> None:
    assert verdict(SURE, text) == "alphanumeric"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (" Продолжение следует", "en"),
        ("ご視聴ありがとうございました", "en"),
        (" 이 영상은", "de"),
        (" Спасибо", "ja"),
        (" नमस्ते", "ru"),
        (" Ευχαριστώ", "ru"),
        ("謝謝", "en"),
    ],
)
def test_text_in_a_foreign_script_is_dropped(text: str, language: str) -> None:
    assert verdict(SURE, text, language) == "script"


def test_a_latin_sentence_in_another_script_is_dropped_only_in_doubt() -> None:
    assert verdict(SURE, " The quick brown fox.", "ru") is None
    assert verdict(UNSURE, " The quick brown fox.", "ru") == "script"


def test_any_script_is_kept_where_the_language_is_unknown() -> None:
    assert verdict(SURE, " Улыбнулся и Генрих.", None) is None


@pytest.mark.parametrize(
    "text",
    [
        " All the red" + " do" * 40,
        " 1" + ".0" * 60,
        " I was just" + " a bit of" * 12,
        " Thank you, Mr. President," * 8,
        " Eu não sei" + " se o que é" * 15,
        "スタッフの方が良いです" * 12,
        " आज़" + " भी" * 40,
    ],
)
def test_a_repetitive_text_is_dropped(text: str) -> None:
    assert clean(replace(SURE, text=text), None, None, ["repetition"]) == "repetition"


@pytest.mark.parametrize(
    "text",
    [
        " गुजरात में आज सुबह से ही तेज बारिश हो रही है और कई इलाकों में पानी भर गया है।" * 2,
        " Сегодня утром в городе прошёл сильный дождь, и многие улицы оказались под водой.",
        " วันนี้ฝนตกหนักตั้งแต่เช้าและหลายพื้นที่มีน้ำท่วมขังการจราจรติดขัดเป็นอย่างมาก",
    ],
)
def test_scripts_of_many_bytes_do_not_count_as_repetitive(text: str) -> None:
    assert clean(replace(SURE, text=text), None, None, ["repetition"]) is None


def test_a_text_may_have_any_number_of_different_characters() -> None:
    assert verdict(SURE, "".join(chr(0x4E00 + i) for i in range(600)), "zh") is None


def test_a_long_sentence_said_twice_without_a_pause_is_kept_once() -> None:
    sentence = " I'm going to put it on the side and then we will see what happens."
    assert again(SURE, sentence) == "repetition"
    assert again(SURE, sentence.upper()) == "repetition"
    assert again(SURE, sentence, pause=0.9) == "repetition"
    assert again(SURE, sentence, pause=1.0) is None  # an announcement, a dictation


@pytest.mark.parametrize("text", [" Yes.", " We will, we will rock you!", " Wait, what?"])
def test_short_answers_and_refrains_may_be_said_twice(text: str) -> None:
    assert again(SURE, text) is None


@pytest.mark.parametrize("text", ["你不想要我", " Ich habe es nicht mehr."])
def test_of_the_copies_in_a_repetitive_window_one_is_kept_however_many_were_dropped_since(text: str) -> None:
    assert again(REPETITIVE, text) == "repetition"
    assert again(REPETITIVE, text, pause=20.0) == "repetition"


def test_different_words_in_a_repetitive_window_are_kept() -> None:
    last = replace(REPETITIVE, text=" All the go.")
    assert verdict(REPETITIVE, " Dry the do the go.", last=last) is None


def test_a_stricter_compression_ratio_holds_where_no_speech_is_likely_too() -> None:
    segment = replace(UNSURE, text=" I'll wait.", compression_ratio=1.7)
    assert clean(segment, None, "en", ["no_speech"]) is None
    assert (
        clean(segment, None, "en", ["no_speech"], Thresholds(compression_ratio_threshold=1.6)) == "no_speech"
    )


@pytest.mark.parametrize(
    ("segment", "text"),
    [
        (EMPTY_ROOM, " I'm sorry."),
        (EMPTY_ROOM, " I'm going to do a baby."),
        (replace(REPETITIVE, no_speech_prob=0.87), " I'm going to put it on the side."),
        (replace(UNSURE, compression_ratio=2.3), " I'll just wait for you."),
    ],
)
def test_guesses_and_repetitive_texts_without_speech_are_dropped(segment: Segment, text: str) -> None:
    assert verdict(segment, text) == "no_speech"


@pytest.mark.parametrize(
    ("no_speech_prob", "avg_logprob"), [(0.74, -0.5), (0.2, -1.3), (0.3, -1.3), (0.74, -1.0)]
)
def test_neither_a_low_confidence_nor_a_high_no_speech_probability_is_enough_alone(
    no_speech_prob: float, avg_logprob: float
) -> None:
    segment = replace(SURE, text=" I'm sorry.", no_speech_prob=no_speech_prob, avg_logprob=avg_logprob)
    assert clean(segment, None, "en", ["no_speech"]) is None


def test_a_text_that_is_just_not_repetitive_is_no_evidence_against_speech() -> None:
    segment = replace(SURE, text=" I'm sorry.", no_speech_prob=0.74, compression_ratio=1.9)
    assert clean(segment, None, "en", ["no_speech"]) is None
    assert clean(replace(segment, compression_ratio=1.91), None, "en", ["no_speech"]) == "no_speech"


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        ("compression_ratio_threshold", [0.1, 9], [0, -1]),
        ("logprob_threshold", [0, -9], [0.1]),
        ("no_speech_threshold", [0, 1], [-0.1, 1.1]),
    ],
)
def test_a_threshold_must_lie_where_it_can_mean_something(
    name: str, allowed: list[float], refused: list[float]
) -> None:
    for value in allowed:
        assert getattr(Quality(**{name: value}), name) == value  # type: ignore[arg-type]
    for value in refused:
        with pytest.raises(ValidationError, match=name):
            Quality(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_that_is_switched_off_drops_nothing(name: str) -> None:
    others = [other for other in FILTERS if other != name]
    dropped = {
        "no_speech": (EMPTY_ROOM, " I'm sorry."),
        "alphanumeric": (SURE, " ♪♪♪"),
        "script": (SURE, " Спасибо всем вам"),
        "phrases": (SURE, " Subtitles by the Amara.org community"),
        "repetition": (SURE, " Thank you, Mr. President," * 8),
    }
    segment, text = dropped[name]
    assert verdict(segment, text) == name
    assert clean(replace(segment, text=text), None, "en", others) is None


def test_the_reason_is_the_first_filter_that_drops() -> None:
    segment = replace(EMPTY_ROOM, text=" you")
    assert clean(segment, None, "en", ["phrases", "no_speech"]) == "phrases"
    assert clean(segment, None, "en", ["no_speech", "phrases"]) == "no_speech"


def test_the_thresholds_can_be_changed() -> None:
    segment = replace(EMPTY_ROOM, text=" I'm sorry.")
    assert clean(segment, None, "en", FILTERS, Thresholds(no_speech_threshold=0.8)) is None
