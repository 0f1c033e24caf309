"""Asset events of a landing: what they say, and which assets get one."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from airflow.sdk import Asset

from airflow_provider_cca.assets import OF_PARTITIONS, SCHEME, cca_asset, cca_landings

if TYPE_CHECKING:
    from airflow_provider_cca.landing.landed import Landed


MOST_MANIFESTS = 500
"""How many paths of manifests an event holds; of more it gives the folder alone. A year of days has 366."""


def facts_of(destination: str, landed: Sequence[Landed]) -> dict[str, Any]:
    """What the event of a landing says about it: JSON values, and no connection id.

    {"report", "level" or "site", "partition", "files", "bytes", "downloaded", "folder", "manifests"}; for
    one partition also its "manifest"; for more of them "partitions", and "partition_end" when they differ.
    """
    root = without_connection(destination)
    manifests = [f"{root}/{one.manifest}" for one in landed]
    partitions = sorted({str(one.partition) for one in landed})
    facts: dict[str, Any] = {
        **_what_all_share("report", [one.scope.report.name for one in landed]),
        **_what_all_share("level", [one.scope.level for one in landed]),
        **_what_all_share("site", [one.scope.site for one in landed]),
        **({"partition": partitions[0]} if partitions else {}),
        **({"partition_end": partitions[-1]} if len(partitions) > 1 else {}),
        "files": sum(one.files for one in landed),
        "bytes": sum(one.bytes for one in landed),
        "downloaded": sum(one.downloaded for one in landed),
        "folder": _folder_of_partitions(root, landed),
    }
    if len(manifests) <= MOST_MANIFESTS:
        facts["manifests"] = manifests
    return facts | ({"manifest": manifests[0]} if len(landed) == 1 else {"partitions": len(landed)})


def announce(
    context: Mapping[str, Any], outlets: Sequence[Any], destination: str, landed: Sequence[Landed]
) -> None:
    """Put the facts into the event of each asset among the outlets of a task, whoever made that asset.

    The asset of one site gets the facts of that site alone, whatever else the task has landed.
    """
    events = context.get("outlet_events")
    if events is None:
        return
    for asset in outlets:
        if not isinstance(asset, Asset):
            continue
        event, about = events[asset], _about(asset, landed)
        event.extra.update(facts_of(destination, about))
        keys = sorted({str(one.partition) for one in about})
        if _is_of_partitions(asset) and hasattr(event, "add_partitions"):  # Airflow 3.3
            event.add_partitions(keys)
            if len(keys) > 1:
                # Each key gets an event with the same facts: a year of days would hold 133,956 paths.
                event.extra.pop("manifests", None)


def announce_each(
    context: Mapping[str, Any], outlets: Sequence[Any], destination: str, landed: Sequence[Landed]
) -> None:
    """When `cca_landings()` is among the outlets of a task: update the asset of each report and level."""
    events, alias = context.get("outlet_events"), cca_landings()
    if events is None or alias not in outlets:
        return
    groups: dict[tuple[str, str | None], list[Landed]] = defaultdict(list)
    for one in landed:
        if one.written:
            groups[one.scope.report.name, one.scope.level].append(one)
    for (report, level), group in groups.items():
        events[alias].add(cca_asset(report, level=level), extra=facts_of(destination, group))


def without_connection(destination: str) -> str:
    """The destination without the connection id, or whatever else stands before an @ there."""
    url = urlsplit(destination.strip())
    return url._replace(netloc=url.netloc.rpartition("@")[2]).geturl().rstrip("/")


def _is_of_partitions(asset: Asset) -> bool:
    return asset.uri.startswith(f"{SCHEME}:") and asset.uri.endswith(OF_PARTITIONS)


def _about(asset: Asset, landed: Sequence[Landed]) -> Sequence[Landed]:
    """What of a landing an asset is about: all of it, unless it is that of a site."""
    site = re.fullmatch(rf"{SCHEME}://cdr/site=([^/]+)(?:{OF_PARTITIONS})?", asset.uri)
    return [one for one in landed if one.scope.site == unquote(site[1])] if site else landed


def _what_all_share(name: str, values: Sequence[str | None]) -> dict[str, str]:
    """The one value that all have, under its name, if there is one."""
    first, *others = {*values} or {None}
    return {name: first} if first and not others else {}


def _folder_of_partitions(root: str, landed: Sequence[Landed]) -> str:
    """The folder in which the folders of these partitions are, or those of their sites."""
    parents = [posixpath.dirname(posixpath.dirname(one.manifest)) for one in landed]
    shared = posixpath.commonpath(parents) if parents else ""
    return f"{root}/{shared}".rstrip("/")
