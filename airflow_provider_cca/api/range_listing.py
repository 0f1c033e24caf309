"""One listing of many partitions, halved where it cannot be read. Plain Python: no Airflow, no HTTP.

A stretch of dates costs one request, but a single entry that cannot be read spoils all of it. Then its halves
are asked for, and theirs, until what is spoilt is known by its partition.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from airflow_provider_cca.core.failures import FATAL_FOR_ALL
from airflow_provider_cca.core.files import RemoteFile, by_partition
from airflow_provider_cca.core.listings import Ask, Listed, Window
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import (
    CcaError,
    IncompleteListing,
    MalformedListing,
    StillProcessing,
    UnreadableAnswer,
)

NEWEST = (0, 1, 2, 4)
"""How many of the newest partitions are left out, step by step, when the server is still at work on some."""

SPOILT = (MalformedListing, IncompleteListing, UnreadableAnswer)
"""What may be wrong with a part of a listing alone."""

MOST_SPOILT = 100
"""So many answers may be spoilt before the rest of a window is given up; one partition in a year takes 10."""

MOST_RETRIED = 20
"""The same for answers that have been asked for several times over already, with waits."""


def listed(ask: Ask, window: Window) -> Listed:
    """The files of a window; partitions that are spoilt, or still being made, do not hold back the others.

    Raises what concerns the window as a whole.
    """
    partitions = window.partitions
    steps = [left_out for left_out in NEWEST if left_out < len(partitions)]
    for left_out in steps:
        split = len(partitions) - left_out
        try:
            found = _whole_or_halved(ask, window.scope, partitions[:split])
        except StillProcessing:
            if left_out == steps[-1]:
                raise
            continue
        return _with_newest(ask, window.scope, found, partitions[split:])
    raise AssertionError("the last step raises or returns")


def halved(ask: Ask, scope: Scope, partitions: Sequence[Partition], error: CcaError) -> Listed:
    """The files of partitions whose listing as a whole was spoilt by `error`, asked for half by half."""
    files: list[RemoteFile] = []
    failures: dict[Partition, CcaError] = {}
    open_halves = deque(_halves(partitions, error, failures))
    left = MOST_RETRIED if error.retryable else MOST_SPOILT
    while open_halves:
        half = open_halves.popleft()
        if left <= 0:
            failures |= dict.fromkeys(half, error)
            continue
        try:
            files += ask(scope, half[0], half[-1])
        except FATAL_FOR_ALL:
            raise
        except SPOILT as spoilt:
            left -= 1
            open_halves += _halves(half, spoilt, failures)
        except CcaError as other:
            left -= 1
            failures |= dict.fromkeys(half, other)
    return _listed(files, failures)


def _halves(
    partitions: Sequence[Partition], error: CcaError, failures: dict[Partition, CcaError]
) -> list[Sequence[Partition]]:
    """What is to be asked for next; a partition alone has failed."""
    middle = len(partitions) // 2
    if middle:
        return [partitions[:middle], partitions[middle:]]
    failures |= dict.fromkeys(partitions, error)
    return []


def _whole_or_halved(ask: Ask, scope: Scope, partitions: Sequence[Partition]) -> Listed:
    try:
        return _listed(ask(scope, partitions[0], partitions[-1]), {})
    except SPOILT as error:
        return halved(ask, scope, partitions, error)


def _with_newest(ask: Ask, scope: Scope, found: Listed, newest: Sequence[Partition]) -> Listed:
    files, failures = [file for group in found.files.values() for file in group], dict(found.failures)
    for partition in newest:
        try:
            files += ask(scope, partition, partition)
        except FATAL_FOR_ALL:
            raise
        except CcaError as error:
            failures[partition] = error
    return _listed(files, failures)


def _listed(files: Sequence[RemoteFile], failures: Mapping[Partition, CcaError]) -> Listed:
    groups = by_partition(files)
    return Listed({partition: group for (_, partition), group in groups.items()}, failures)
