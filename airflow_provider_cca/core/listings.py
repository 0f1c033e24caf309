"""What a listing of several partitions or scopes gives, with what failed in it. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from airflow_provider_cca.core.failures import FATAL_FOR_ALL
from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import (
    CcaError,
    PartlyLanded,
)

log = logging.getLogger(__name__)

Ask = Callable[[Scope, Partition, Partition], list[RemoteFile]]
ListRange = Callable[["Window"], "Listed"]


@dataclass(frozen=True)
class Window:
    """The partitions of a scope to be looked at, from `first` to `last`, both included."""

    scope: Scope
    first: Partition
    last: Partition

    @property
    def partitions(self) -> list[Partition]:
        return list(self.first.until(self.last))


@dataclass(frozen=True)
class Listed:
    """The answer to a window; what could not be had is in `failures`."""

    files: Mapping[Partition, Sequence[RemoteFile]]
    failures: Mapping[Partition, CcaError]

    def of(self, partition: Partition) -> Sequence[RemoteFile] | None:
        """The files of a partition; None when it could not be asked for."""
        return None if partition in self.failures else self.files.get(partition, ())


@dataclass
class Listing:
    """The files of several scopes; `failures` holds the error of each that could not be listed."""

    scopes: list[Scope] = field(default_factory=list)
    files: list[RemoteFile] = field(default_factory=list)
    failures: dict[Scope, CcaError] = field(default_factory=dict)

    def take(self, scope: Scope, answer: Future[list[RemoteFile]]) -> None:
        """Add an answer, or its error; raise what concerns all scopes alike."""
        try:
            self.files += answer.result()
            self.scopes.append(scope)
        except FATAL_FOR_ALL:
            raise
        except CcaError as error:
            log.warning("%s", error)
            self.failures[scope] = error

    def raise_failures(self, landing: PartlyLanded | None = None) -> None:
        """Raise PartlyLanded that names the scopes that failed, if any did, and what failed in `landing`."""
        if not self.failures:
            return
        names = ", ".join(str(scope.site or scope) for scope in list(self.failures)[:20])
        error, asked = next(iter(self.failures.values())), len(self.failures) + len(self.scopes)
        retryable = any(error.retryable for error in (*self.failures.values(), *filter(None, [landing])))
        others = ", the others were" if self.scopes else ""
        raise PartlyLanded(
            f"{len(self.failures)} of {asked} could not be listed{others}: {names}"
            f"{', …' if len(self.failures) > 20 else ''}. The first: {error}"
            f"{f'. {landing}' if landing else ''}",
            failures={str(scope): error.as_dict() for scope, error in self.failures.items()}
            | (dict(landing.failures) if landing else {}),
            retryable=retryable,
        ) from error
