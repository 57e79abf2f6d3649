"""What decoding one recording may take: CPU time, memory and time on the clock, by its bytes and its length."""

from dataclasses import dataclass, field

MB = 1e6


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Settings of the bounds on one recording. Bounds and descriptions are those of the config's section `decoding`."""

    cpu_s: float = field(
        default=0.5,
        metadata={"gt": 0, "description": "CPU time that decoding any recording may take, in seconds"},
    )
    cpu_s_per_mb: float = field(
        default=0.03,
        metadata={"ge": 0, "description": "CPU time added to that for each megabyte (1e6 bytes) of the file"},
    )
    cpu_s_per_audio_s: float = field(
        default=0.02,
        metadata={"ge": 0, "description": "CPU time added for each second of audio that has been decoded"},
    )
    slowdown: float = field(
        default=20,
        metadata={
            "ge": 1,
            "description": "times its CPU time that decoding may take on the clock, where others use the CPUs too",
        },
    )
    memory_mb: float = field(
        default=96,
        metadata={
            "gt": 0,
            "description": "memory that decoding any recording may take, in megabytes (Linux)",
        },
    )
    memory_per_byte: float = field(
        default=0.25,
        metadata={"ge": 0, "description": "bytes of memory added to that for each byte of the file (Linux)"},
    )

    def cpu(self, size: int, decoded_s: float = 0.0) -> float:
        """CPU seconds for a file of `size` bytes of which so many seconds have been decoded."""
        return self.cpu_s + self.cpu_s_per_mb * size / MB + self.cpu_s_per_audio_s * decoded_s

    def clock(self, size: int, decoded_s: float = 0.0) -> float:
        """Seconds on the clock, likewise."""
        return self.slowdown * self.cpu(size, decoded_s)

    def memory(self, size: int) -> int:
        """Bytes of memory beyond what an idle worker has."""
        return int(self.memory_mb * MB + self.memory_per_byte * size)
