"""Settings of logs and traces."""

from typing import Literal

from pydantic import Field

from whisper_serve.section import Section


class Logging(Section):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "INFO", description="lowest level that is logged"
    )
    format: str = Field(
        "%(asctime)s - %(name)s - %(levelname)s - %(message)s",
        description="the fields of each JSON line, as %(field)s",
    )
    console: Literal["auto", "text", "json"] = Field(
        "auto",
        description="what main.py shows: text for people, or JSON lines; auto: text on a terminal, else JSON lines",
    )
    file: str | None = Field("whisper_service.log", description="log file; null: standard error only")
    access_file: str | None = Field(
        None, description="separate file for the line of each request; null: with the other lines"
    )
    error_file: str | None = Field(
        None, description="separate file that errors are written to as well; null: only with the other lines"
    )
    audit_file: str | None = Field(
        None,
        description="separate file for what a security audit asks about: refused keys, limits of keys that were "
        "reached, changes of the configuration; null: with the other lines",
    )
    transcripts: bool = Field(False, description="write the transcript into each request's line")
    rotate: Literal["size", "daily"] = Field(
        "size", description="when a file is rotated: at max_mb, or at midnight (UTC) as well"
    )
    max_mb: float = Field(50, gt=0, description="size at which a file is rotated, in megabytes (1e6 bytes)")
    backups: int = Field(5, ge=0, description="rotated files kept")


class Tracing(Section):
    endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        description="where OpenTelemetry spans are sent, by OTLP over HTTP, such as "
        '"http://localhost:4318/v1/traces"; null: none are made',
    )
    sample_ratio: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of requests that are traced, of those whose caller does not decide it",
    )
