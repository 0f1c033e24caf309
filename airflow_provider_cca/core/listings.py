"""What a listing of several partitions gives, with what failed in it. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import CcaError


@dataclass(frozen=True)
class Window:
    """The partitions of a scope to be listed, from `first` to `last`, both included, but for some."""

    scope: Scope
    first: Partition
    last: Partition
    left_out: Collection[Partition] = frozenset()

    @property
    def partitions(self) -> list[Partition]:
        return [partition for partition in self.first.until(self.last) if partition not in self.left_out]


@dataclass(frozen=True)
class Listed:
    """The files of each partition of a window; `failures` has the error of each that could not be listed."""

    files: Mapping[Partition, Sequence[RemoteFile]]
    failures: Mapping[Partition, CcaError]

    @property
    def error(self) -> CcaError | None:
        """The one error for which no partition could be listed, if there is such a one."""
        errors = {id(error): error for error in self.failures.values()}
        return next(iter(errors.values())) if len(errors) == 1 and not self.files else None


ListRanges = Callable[[Iterable[Window]], Iterator[tuple[Window, Listed]]]
