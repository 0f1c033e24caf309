"""How far a landing is, counted by the piece and said now and then. Plain Python: no Airflow, no I/O."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from airflow_provider_cca.core.files import RemoteFile

log = logging.getLogger(__name__)

SAY_EVERY_SECONDS = 30.0


@dataclass
class Amount:
    """So many files, and their bytes."""

    files: int = 0
    bytes: int = 0

    def add(self, files: int, size: int) -> None:
        self.files += files
        self.bytes += size


class Progress:
    """Counts what a landing has to fetch and has fetched; safe from several threads.

    Whoever counts also looks at the clock, so that no thread is needed to say how far it is: when nothing
    moves, nothing is said.

    :param say: Told a line, at most one in 30 s.
    :param clock: Seconds, of a clock that never goes back.
    """

    def __init__(
        self, say: Callable[[str], None] = log.info, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.expected = Amount()
        self.downloaded: dict[tuple[str, str | None], Amount] = defaultdict(Amount)
        """What has been fetched and published, by name of the report and level."""
        self._moved = Amount()  # bytes: also those of files that are still on their way
        self._say, self._clock, self._lock = say, clock, Lock()
        self._started = self._said = clock()
        self._moved_when_said = 0

    def expect(self, files: int, size: int) -> None:
        """So many more files, of so many bytes, are to be fetched."""
        with self._lock:
            self.expected.add(files, size)

    def spare(self, size: int) -> None:
        """A file that was expected turned out to be in the store already."""
        with self._lock:
            self.expected.add(-1, -size)

    @contextmanager
    def fetching(self, file: RemoteFile) -> Iterator[Callable[[int], None]]:
        """Around the transfer of one file: gives what is to be told the bytes of each chunk.

        Leaving the block counts the file; when that is by an error, its bytes count no longer.
        """
        own = 0

        def count(size: int) -> None:
            nonlocal own
            own += size
            self._move(0, size)

        try:
            yield count
        except BaseException:
            self._move(0, -own)
            raise
        with self._lock:
            self.downloaded[file.scope.report.name, file.scope.level].add(1, own)
        self._move(1, 0)

    def _move(self, files: int, size: int) -> None:
        with self._lock:
            self._moved.add(files, size)
            now = self._clock()
            if now - self._said < SAY_EVERY_SECONDS:
                return
            line = self._line(now)
            self._said, self._moved_when_said = now, self._moved.bytes
        self._say(line)

    def _line(self, now: float) -> str:
        lately = (self._moved.bytes - self._moved_when_said) / (now - self._said)
        on_average = self._moved.bytes / (now - self._started)
        rest = self.expected.bytes - self._moved.bytes
        left = f", about {in_words(rest / on_average)} left" if on_average > 0 and rest > 0 else ""
        return (
            f"Fetched {self._moved.files:,} of {self.expected.files:,} files, "
            f"{in_units(self._moved.bytes)} of {in_units(self.expected.bytes)}, "
            f"{in_units(max(lately, 0))}/s{left}"
        )


def in_units(size: float) -> str:
    """Bytes as people read them: 999 B, 1.5 kB, 20.0 GB."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 file, 1,234 files."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def in_words(seconds: float) -> str:
    """A stretch of time, roughly: 45 s, 18 min, 3.2 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
