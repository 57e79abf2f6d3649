from tests.support.scripted_whisper import TIMESTAMP_BEGIN, TOKENIZER, decoded, tokens
from whisper_serve.engines.whisper.segments import Sentence, as_segments, split


def test_sentences_are_split_between_pairs_of_timestamps() -> None:
    ids = tokens(0.0, " One.", 1.0, 1.5, " Two.", 2.0)
    sentences = [Sentence(0, 4, 0.0, 1.0), Sentence(4, 8, 1.5, 2.0)]
    assert split(ids, 5.0, TIMESTAMP_BEGIN) == (sentences, 2.0)


def test_text_without_timestamps_lasts_as_long_as_its_audio() -> None:
    assert split(tokens(" One."), 5.0, TIMESTAMP_BEGIN) == ([Sentence(0, 2, 0.0, 5.0)], 5.0)


def test_text_after_the_last_timestamp_is_kept() -> None:
    sentences, upto = split(tokens(0.0, " One.", 1.0, 1.5, " Two"), 5.0, TIMESTAMP_BEGIN)
    assert (sentences[-1].start, sentences[-1].end, upto) == (1.5, 5.0, 5.0)


def test_no_text_gives_no_segment() -> None:
    assert split((), 5.0, TIMESTAMP_BEGIN) == ([], 5.0)
    assert split(tokens(0.0, 0.0), 5.0, TIMESTAMP_BEGIN) == ([], 0.0)


def test_segments_carry_the_figures_of_what_was_decoded() -> None:
    answer = decoded(0.0, " One.", 1.0, 1.5, " Two.", 2.0, logprob=-0.25, no_speech=0.125)
    segments, _ = as_segments(answer, 5.0, 0.4, TOKENIZER, False)
    assert [s.text for s in segments] == [" One.", " Two."]
    assert {(s.avg_logprob, s.no_speech_prob, s.temperature) for s in segments} == {(-0.25, 0.125, 0.4)}
    assert [p.token for p in segments[0].logprobs] == [" One", "."]
    assert segments[0].logprobs[0].bytes == tuple(b" One")


def test_segments_stay_inside_their_audio_and_what_begins_beyond_it_is_left_out() -> None:
    answer = decoded(0.0, " One.", 2.5, 2.5, " Two.", 3.0)
    segments, _ = as_segments(answer, 2.0, 0.0, TOKENIZER, False)
    assert [(s.start, s.end, s.text) for s in segments] == [(0.0, 2.0, " One.")]
