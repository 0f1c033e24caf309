"""What this package counts in Airflow's own metrics, wherever Airflow sends those."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_cca.integration.compat import stats

PARTITIONS_LANDED = "cca.partitions_landed"
FILES_LANDED = "cca.files_landed"
BYTES_LANDED = "cca.bytes_landed"
FILES_DOWNLOADED = "cca.files_downloaded"
BYTES_DOWNLOADED = "cca.bytes_downloaded"
RETRIES = "cca.retries"
LOOKS = "cca.sensor.looks"
WAITED_SECONDS = "cca.sensor.waited_seconds"


def count(name: str, number: float, **tags: object) -> None:
    """Add to a counter. Zeros are left out, and tags that are empty or name several values at once."""
    if whole := round(number):
        said = {tag: value for tag, value in tags.items() if isinstance(value, str) and value}
        stats().incr(name, whole, tags={tag: value for tag, value in said.items() if "," not in value})


def count_looks(looks: Mapping[str, int], waited: float, report: str, level: str | None) -> None:
    """Looks of a sensor by their outcome, and the seconds that it let pass between them."""
    for outcome, number in looks.items():
        count(LOOKS, number, outcome=outcome, report=report, level=level)
    count(WAITED_SECONDS, waited, report=report, level=level)
