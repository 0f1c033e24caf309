"""What OpenLineage is told of a landing: from which dataset of the API to which of the store, and how much.

A dataset is a report, of a level or a site where it has them, over all its partitions. Namespaces and names
are those that OpenLineage prescribes, and hold no connection id and no user: of s3://aws_default@bucket/cca
it is told the namespace s3://bucket and the name cca/cdr_compressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_cca.landing.landed import Landed

MAX_DATASETS = 250
"""A landing of more than so many sites is told as one dataset of the report: an event has to stay small."""

_SCHEMES = {"gcs": "gs", "s3a": "s3", "s3n": "s3"}


def facts_of(source: str, destination: str, landed: Sequence[Landed]) -> dict[str, Any]:
    """What to tell, as JSON values alone: OpenLineage can be set to show all attributes of an operator.

    :param source: Namespace of the datasets of the API.
    """
    sums = _sums(landed, whole_reports=False)
    if len(sums) > MAX_DATASETS:
        sums = _sums(landed, whole_reports=True)
    namespace, prefix = dataset_of(destination)
    return {
        "source": source,
        "namespace": namespace,
        "prefix": prefix,
        "sums": sums,
    }


def facets_of(facts: dict[str, Any]) -> OperatorLineage[Any, Any] | None:
    """The same as OpenLineage wants it; None where its provider is not installed."""
    try:
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import InputDataset, OutputDataset
        from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics
    except ImportError:
        return None

    def output(name: str, files: int, size: int) -> OutputDataset:
        counts = statistics.OutputStatisticsOutputDatasetFacet(fileCount=files, size=size)
        return OutputDataset(
            facts["namespace"], f"{facts['prefix']}{name}", outputFacets={"outputStatistics": counts}
        )

    sums = facts.get("sums", {})
    return OperatorLineage(
        inputs=[InputDataset(facts["source"], name) for name in sums],
        outputs=[output(name, *counts) for name, counts in sums.items()],
    )


def dataset_of(destination: str) -> tuple[str, str]:
    """Namespace of a destination, and what the names of its datasets begin with."""
    url = destination.strip()
    scheme, _, rest = url.partition("://") if "://" in url else ("file", "", url)
    if scheme == "file":
        return "file", f"/{rest.strip('/')}/".replace("//", "/")
    place, _, path = rest.partition("/")
    host = place.rpartition("@")[2]
    return f"{_SCHEMES.get(scheme, scheme)}://{host}", f"{path.strip('/')}/".lstrip("/")


def _sums(landed: Sequence[Landed], whole_reports: bool) -> dict[str, list[int]]:
    """Name of the dataset -> files and bytes of its partitions."""
    sums: dict[str, list[int]] = {}
    for one in landed:
        report, *scope, _, _ = one.manifest.split("/")
        counts = sums.setdefault(report if whole_reports else "/".join([report, *scope]), [0, 0])
        counts[0] += one.files
        counts[1] += one.bytes
    return sums
