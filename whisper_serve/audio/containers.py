"""The table of containers that can be read, by FFmpeg's names. To accept another, add its row."""

from dataclasses import dataclass

ANY = "*"  # among the accepted extensions: every container of the table


@dataclass(frozen=True, slots=True)
class Container:
    name: str  # as users know it
    extensions: tuple[str, ...]
    exact: bool = False  # its index declares a length, and a healthy file holds that much sound


CONTAINERS = {  # by FFmpeg's names
    "aac": Container("AAC", (".aac",)),
    "ac3": Container("AC-3", (".ac3",)),
    "aiff": Container("AIFF", (".aiff", ".aif", ".aifc")),
    "amr": Container("AMR", (".amr",)),
    "asf": Container("Windows Media", (".wma", ".wmv", ".asf")),
    "au": Container("AU", (".au", ".snd"), exact=True),
    "avi": Container("AVI", (".avi",)),
    "caf": Container("CAF", (".caf",)),
    "eac3": Container("E-AC-3", (".eac3", ".ec3")),
    "flac": Container("FLAC", (".flac",), exact=True),
    "flv": Container("Flash", (".flv",)),
    "gsm": Container("GSM", (".gsm",)),
    "matroska,webm": Container("WebM or Matroska", (".webm", ".weba", ".mkv", ".mka")),
    "mov,mp4,m4a,3gp,3g2,mj2": Container("MP4", (".mp4", ".m4a", ".m4b", ".m4v", ".mov", ".3gp"), exact=True),
    "mp3": Container("MP3", (".mp3", ".mpga", ".mpeg", ".mp2")),
    "mpeg": Container("MPEG", (".mpeg", ".mpg", ".vob")),
    "mpegts": Container("MPEG-TS", (".ts", ".mts", ".m2ts")),
    "nistsphere": Container("NIST SPHERE", (".sph", ".nist")),
    "ogg": Container("Ogg", (".ogg", ".oga", ".opus", ".spx", ".ogv")),
    "tta": Container("TTA", (".tta",), exact=True),
    "voc": Container("VOC", (".voc",)),
    "w64": Container("Wave64", (".w64",)),
    "wav": Container("WAV", (".wav",)),
    "wv": Container("WavPack", (".wv",), exact=True),
}
