"""Which channels of a recording are transcribed by themselves, and whether they differ at all."""

import numpy as np

from whisper_serve.errors import BadRequest
from whisper_serve.types import SAMPLE_RATE, Audio, Channels, Samples

BLOCK = 60 * SAMPLE_RATE  # samples compared at a time
# What differs by less is the same sound but for its coding: AAC makes a difference of 0.3 % of the peak.
SAME_SHARE = 0.01  # of the peak
SAME_LEVEL = 1e-3  # of full scale
FRAME = SAMPLE_RATE // 50  # samples over which loudness is measured
# A correlation of loudness over time. Of LibriSpeech's speakers, one a channel in turns, it was -0.4 to -0.2, with
# crosstalk at -20 dB up to 0.1, both at once for 5 s up to 0.45; with two microphones in a room it was 0.9 and more, with
# voices panned to 70 % of one side 0.47 and more.
ALIKE = 0.4


def kept_apart(found: int, channels: Channels, most: int) -> int:
    """How many channels of `found` are to be decoded by themselves; 1: all of them, mixed. Raises BadRequest."""
    if channels == "separate" and found > most:
        raise BadRequest(f"the recording has {found} channels; channels=separate takes at most {most}")
    return found if channels == "separate" or (channels == "speakers" and found == 2) else 1


def told_apart(audio: tuple[Audio, ...], channels: Channels) -> tuple[Audio, ...]:
    """The channels where they differ; where they do not, a single one of the same sound.

    All with the same samples differ in no case; for "speakers" they must differ in when they are loud, too.
    """
    first, *others = (channel.samples for channel in audio)
    if all(same(first, other) for other in others):
        return audio[:1]
    if channels == "speakers" and alike(first, others[0]):
        mixed = first + others[0]
        mixed /= 2
        return (Audio(mixed),)
    return audio


def same(one: Samples, other: Samples) -> bool:
    """Whether two channels of one length hold the same samples, but for what coding changes."""
    for at in range(0, len(one), BLOCK):
        block = one[at : at + BLOCK]
        tolerance = max(SAME_LEVEL, SAME_SHARE * float(np.abs(block).max()))
        if np.abs(block - other[at : at + BLOCK]).max() > tolerance:
            return False
    return True


def alike(one: Samples, other: Samples) -> bool:
    """Whether two channels of one length are loud at the same moments, as one room is for two microphones.

    So is a channel of silence: it tells nobody apart.
    """
    levels = loudness(one), loudness(other)
    deviations = [level.std() for level in levels]
    if min(deviations) == 0:
        return True
    covariance = np.mean(np.prod([level - level.mean() for level in levels], axis=0))
    return bool(covariance > ALIKE * deviations[0] * deviations[1])


def loudness(samples: Samples) -> Samples:
    """Root mean square of every frame, shape (frames,); of a single one, where the recording is shorter."""
    whole = len(samples) // FRAME * FRAME
    frames = samples[:whole].reshape(-1, FRAME) if whole else samples.reshape(1, -1)
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", frames, frames) / frames.shape[1]))
