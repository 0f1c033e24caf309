"""Download links that have died are listed anew. No Airflow, no HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from threading import Lock

from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import (
    Forbidden,
    InvalidRequest,
    LinkExpired,
    StillProcessing,
    Unauthorized,
    UnexpectedAnswer,
)

MAY_BE_DEAD = (Forbidden, InvalidRequest, StillProcessing, Unauthorized, UnexpectedAnswer)
"""What a dead link may be answered with in words that we do not know: then a new listing has another link."""


class LinkRenewal:
    """Downloads files by the newest links that are known of them.

    A link may live shorter than the task that lands by it. When it has died the partition is listed again:
    once for all files whose links died before that.

    :param download: Yields the body of a file by its own link.
    :param files: Lists a partition.
    """

    def __init__(
        self,
        download: Callable[[RemoteFile], Generator[bytes]],
        files: Callable[[Scope, Partition], list[RemoteFile]],
    ) -> None:
        self._download, self._files = download, files
        self._lock = Lock()
        self._newest: dict[tuple[Scope, Partition], tuple[float, dict[tuple[str, ...], RemoteFile]]] = {}

    def download(self, file: RemoteFile) -> Generator[bytes]:
        """Yield the body of a file; when its link has died, by a new one."""
        started = time.monotonic()
        _, known = self._newest.get((file.scope, file.partition), (0.0, {}))
        begun, newest = False, known.get(_identity(file), file)
        try:
            for chunk in self._download(newest):
                begun = True
                yield chunk
        except (LinkExpired, *MAY_BE_DEAD) as error:
            renewed = None if begun else self._listed_after(started, file)
            if renewed is None or (isinstance(error, MAY_BE_DEAD) and renewed.link == newest.link):
                raise
        else:
            return
        yield from self._download(renewed)

    def _listed_after(self, moment: float, file: RemoteFile) -> RemoteFile | None:
        """Return the file with a link that was listed after a moment; None when it is not listed any more."""
        place = file.scope, file.partition
        with self._lock:
            listed_at, known = self._newest.get(place, (0.0, {}))
            if listed_at <= moment:
                listed_at = time.monotonic()
                try:
                    known = {_identity(one): one for one in self._files(*place)}
                except StillProcessing:
                    known = {}
                self._newest[place] = listed_at, known
        return known.get(_identity(file))


def _identity(file: RemoteFile) -> tuple[str, ...]:
    return file.id, file.name, file.md5
