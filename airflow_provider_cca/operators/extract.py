"""Extract what landed: from the zip files of a partition to objects that engines read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from threading import Event
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from airflow_provider_cca.core.partition import Partition
from airflow_provider_cca.errors import InvalidArgument
from airflow_provider_cca.extract.zip_reader import (
    MAX_MEMBER_BYTES,
    MAX_MEMBERS,
    MAX_RATIO,
    MAX_TOTAL_BYTES,
    Limits,
)
from airflow_provider_cca.integration.arguments import (
    CheckedArguments,
    check_arguments,
    check_destination,
    is_open,
)
from airflow_provider_cca.integration.destination import open_store
from airflow_provider_cca.integration.requested_range import partitions_of_run, written_by
from airflow_provider_cca.integration.task_failures import airflow_errors
from airflow_provider_cca.reports import REPORTS

if TYPE_CHECKING:
    from airflow_provider_cca.extract.extractor import Extracted

ZIPS = REPORTS["cdr_compressed"]

_MANIFEST = re.compile(
    rf"(.+)/{ZIPS.name}/{ZIPS.partition_key}=(\d{{4}}-\d\d-\d\d)/_manifest\.json", re.ASCII
)


class CcaExtractOperator(CheckedArguments, BaseOperator):
    """Extract the compressed call detail records that landed, each member to a gzip-compressed object.

    The members of `{source}/cdr_compressed/creation_date=…` go to
    `{destination}/cdr_csv/creation_date=…/{member}.gz`, and a manifest beside them names them all. A zip is
    read when its MD5 is the one it landed with, a member appears when its CRC is right, and extracting a
    partition again makes only what is missing or has changed. It needs no connection to a CCA server.

    Returns {"partition", "members", "bytes", "written", "manifest"}; for a range {"partition",
    "partition_end", "partitions", "members", "bytes", "written"}. The bytes are those of the objects. Fails
    with NotLanded, which is retried, and for good with DamagedArchive, HostileArchive, UnsupportedArchive.

    :param source: Where the partition landed: the destination of that landing; or the URL of the partition's
        manifest as the landing returned it, or a list of such (templated).
    :param destination: Where to: a path, or a URL such as s3://aws_default@bucket/cca (templated).
    :param partition: Creation date YYYY-MM-DD, in UTC (templated). None means the run's param
        `partition`, else its partition key, its logical date, or the date it runs after. A manifest has its
        own.
    :param partition_end: The last of a range, included (templated).
    :param max_members: Members of one zip.
    :param max_member_bytes: Bytes of one member, unpacked.
    :param max_total_bytes: Bytes of all members of one zip, unpacked.
    :param max_ratio: Bytes of a member for each byte that it takes in the zip; up to 1 MiB may have any.
    """

    template_fields: Sequence[str] = ("source", "destination", "partition", "partition_end")

    _closed: Event | None = None

    def __init__(
        self,
        *,
        source: str | Sequence[str],
        destination: str,
        partition: str | None = None,
        partition_end: str | None = None,
        max_members: int = MAX_MEMBERS,
        max_member_bytes: int = MAX_MEMBER_BYTES,
        max_total_bytes: int = MAX_TOTAL_BYTES,
        max_ratio: int = MAX_RATIO,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._limits = (max_members, max_member_bytes, max_total_bytes, max_ratio)
        if self.of_dag_file:
            for each in [source] if isinstance(source, str) or is_open(source) else source:
                check_destination(each, "source")
            check_destination(destination)
            check_arguments(report=ZIPS.name, partition=partition, partition_end=partition_end)
            Limits(*self._limits)
        self.source = source
        self.destination = destination
        self.partition = partition
        self.partition_end = partition_end

    def execute(self, context: Context) -> dict[str, Any]:
        self._closed = Event()
        try:
            with airflow_errors(self):
                partitions = self._asked(context)
                return self._summary(partitions, self._extract(partitions, written_by(context)))
        finally:
            self._closed = None

    def on_kill(self) -> None:
        if self._closed:
            self._closed.set()

    def _extract(
        self, partitions: Sequence[tuple[str, Partition]], by: Mapping[str, Any] | None
    ) -> list[Extracted]:
        from airflow_provider_cca.core.retry import Retry
        from airflow_provider_cca.extract.extractor import Extractor

        target = open_store(self.destination)
        sources = {root: open_store(root, "source") for root in dict.fromkeys(root for root, _ in partitions)}
        extractor = Extractor(target, Limits(*self._limits), Retry(self._closed or Event()), by)
        return extractor.extract([(sources[root], partition) for root, partition in partitions])

    def _asked(self, context: Context) -> list[tuple[str, Partition]]:
        """The partitions, each with the root below which it landed."""
        if isinstance(self.source, str) and not self.source.strip().endswith("/_manifest.json"):
            asked = partitions_of_run(context, ZIPS, self.partition, self.partition_end)
            return [(self.source, partition) for partition in asked.first.until(asked.last)]
        sources = [self.source] if isinstance(self.source, str) else self.source
        if not sources:
            raise InvalidArgument("source is an empty list of manifests", argument="source")
        named = dict.fromkeys(_of_manifest(str(source).strip()) for source in sources)
        if self.partition or self.partition_end:
            raise InvalidArgument(
                "source is a manifest, which has its partition: give none", argument="partition"
            )
        if len({partition for _, partition in named}) < len(named):
            raise InvalidArgument("source has two manifests of one date", argument="source")
        return sorted(named, key=lambda each: each[1])

    def _summary(
        self, asked: Sequence[tuple[str, Partition]], extracted: Sequence[Extracted]
    ) -> dict[str, Any]:
        counts = {
            "members": sum(one.members for one in extracted),
            "bytes": sum(one.bytes for one in extracted),
            "written": sum(one.written for one in extracted),
        }
        first, last = str(asked[0][1]), str(asked[-1][1])
        if len(asked) == 1:
            manifest = f"{str(self.destination).rstrip('/')}/{extracted[0].manifest}"
            return {"partition": first, **counts, "manifest": manifest}
        return {"partition": first, "partition_end": last, "partitions": len(extracted), **counts}


def _of_manifest(url: str) -> tuple[str, Partition]:
    """Root and partition of the manifest of a landing."""
    if not (match := _MANIFEST.fullmatch(url)):
        raise InvalidArgument(
            f"source {url!r} is not the manifest of a day of {ZIPS.name}", argument="source"
        )
    return match[1], Partition.parse(match[2], ZIPS.grain)
