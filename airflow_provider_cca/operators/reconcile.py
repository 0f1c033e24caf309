"""Find what has not landed, land it, and write down how far everything has landed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import (
    CcaError,
    Closed,
    DestinationUnusable,
    ExpiresSoon,
    InvalidArgument,
    InvalidConnection,
    PartlyLanded,
    StoreError,
    Unauthorized,
)
from airflow_provider_cca.integration.arguments import is_open, site_names
from airflow_provider_cca.integration.destination import PUBLISHING_WORKERS
from airflow_provider_cca.integration.requested_range import run_type
from airflow_provider_cca.operators.cca_operator import CcaLandingOperator
from airflow_provider_cca.reports import LEVELS, RETENTION_DAYS, Report, report_named

if TYPE_CHECKING:
    from airflow_provider_cca.api.client import CcaClient
    from airflow_provider_cca.core.listings import Window
    from airflow_provider_cca.core.retry import Retry
    from airflow_provider_cca.coverage.document import Snapshot
    from airflow_provider_cca.coverage.state import Coverage
    from airflow_provider_cca.reconcile.reconciler import Healing
    from airflow_provider_cca.store.object_meta import StoredObject
    from airflow_provider_cca.store.object_store import Store

log = logging.getLogger(__name__)

VERIFY = ("size", "changed", "content")
MOST_NAMED = 100
_SITES = "the sites of {0.name}"
"""What could not be listed when no site is known."""


class CcaReconcileOperator(CcaLandingOperator):
    """Compare the last days of reports with the store, and land exactly what is missing or different.

    One listing of each report (level, site) against one listing of the store; what is not whole is landed,
    nearest deadline first. What cannot be listed or landed does not hold back the rest; the task then fails
    and names it. Writes `{destination}/_coverage.json`, the state of every partition, in any case.

    Returns {"complete", "healed", "still_missing", "lost", "empty", "unknown"} in partitions, {"files",
    "bytes"} that have landed, and {"downloaded"} files; {"snapshot"} is the path of the coverage.

    :param report: "cdr", "cdr_compressed", "peak_port_daily" or "peak_port_monthly", or a list of them; as
        text also with commas between them (templated).
    :param destination: Where to: a path, or a URL such as s3://aws_default@bucket/cca (templated).
    :param lookback_days: How many days before today, 1 to 365 (templated).
    :param site: The site, or a list of sites, for report "cdr"; None means all of the account (templated).
    :param level: "site", "customer" or "partner", for peak-port reports; None means all three (templated).
    :param dry_run: Only look and write the coverage; land nothing, raise no alarm (templated).
    :param alarm_days: Fail with ExpiresSoon when files that the server deletes within so many days have not
        landed; None never does (templated).
    :param verify: How to tell whether an object is still what was landed: "size" by the store's listing
        alone; "changed" by reading again what was written after its manifest, or what the store lists with
        another MD5; "content" by reading all whose MD5 the store's listing does not show (templated).
    """

    template_fields: Sequence[str] = (
        *(
            "cca_conn_id",
            "report",
            "destination",
            "lookback_days",
            "site",
            "level",
            "only_look",
            "alarm_days",
            "verify",
        ),
    )

    def __init__(
        self,
        *,
        report: str | Sequence[str],
        lookback_days: int | str = RETENTION_DAYS,
        site: str | Sequence[str] | None = None,
        level: str | None = None,
        dry_run: bool | str = False,
        alarm_days: int | str | None = 14,
        verify: str = "changed",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.report = report
        self.lookback_days = lookback_days
        self.site = site
        self.level = level
        self.only_look = dry_run  # operators have a method dry_run
        self.alarm_days = alarm_days
        self.verify = verify
        if self.of_dag_file:
            self._check()

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_cca.coverage.document import SNAPSHOT_NAME
        from airflow_provider_cca.reconcile.reconciler import counts

        with self.connected() as client:
            self._check()
            if run_type(context) == "backfill":
                raise InvalidArgument(
                    "a reconciliation cannot be backfilled: each run is about the days before today, whatever"
                    " its date; trigger the DAG once, or backfill the DAGs that land"
                )
            store, dry_run = self.store(), _flag("dry_run", self.only_look)
            healing = self._healing(client, store)
            healing.look(self._windows(client, healing))
            failed = None if dry_run else self._heal(client, healing)
            _say(healing, str(self.destination), dry_run=dry_run)
            snapshot, unwritten = self._write_snapshot(store, healing)
            if not dry_run:
                self._raise_alarm(healing, snapshot, failed or unwritten)
            _raise_failures(healing, failed or unwritten)
        if not dry_run:
            self.announce_each(context, healing.landing.landed if healing.landing else [])
        return {**counts(healing), "snapshot": self.url(SNAPSHOT_NAME)}

    def _check(self) -> None:
        """Raise InvalidArgument when a value cannot be right; templates are left for the run."""
        if self.level and not is_open(self.level) and self.level not in LEVELS:
            raise InvalidArgument(
                f"there is no level {self.level!r}: use {', '.join(LEVELS)}", argument="level"
            )
        if not is_open(self.verify) and self.verify not in VERIFY:
            raise InvalidArgument(f"verify is {self.verify!r}: use {', '.join(VERIFY)}", argument="verify")
        if not is_open(self.lookback_days):
            _number("lookback_days", self.lookback_days, 1, RETENTION_DAYS)
        if self._wants_alarm() and not is_open(self.alarm_days):
            _number("alarm_days", self.alarm_days, 0, RETENTION_DAYS)
        if not is_open(self.only_look):
            _flag("dry_run", self.only_look)
        if not is_open(self.report):
            _check_needs(_reports(self.report), site=self.site, level=self.level)

    def _wants_alarm(self) -> bool:
        """A template of nothing renders as a text."""
        return self.alarm_days is not None and str(self.alarm_days) not in {"", "None"}

    def _healing(self, client: CcaClient, store: Store) -> Healing:
        from airflow_provider_cca.landing.layout import folder_of
        from airflow_provider_cca.reconcile.inventory import Inventory, Verify
        from airflow_provider_cca.reconcile.reconciler import Healing

        retry, workers = client.session.retry, client.config.max_connections + PUBLISHING_WORKERS
        before = _snapshot_before(store, retry)
        # A change that one run finds and cannot put right must not pass for whole in the next, which may look
        # less hard.
        doubted = {folder_of(*place) for place, gap in before.gaps.items() if gap.missing}
        inventory = Inventory(store, retry, Verify(self.verify), doubted)
        return Healing(inventory, client.list_range, client.download, retry, workers, before)

    def _heal(self, client: CcaClient, healing: Healing) -> CcaError | None:
        """Land; what failed for some of the files, when all the others have landed."""
        try:
            healing.heal()
        except Closed:
            raise
        except CcaError as error:
            return error
        finally:
            if healing.landing:
                self._tell(client, healing.landing.landed, healing.landing.progress.downloaded)
        return None

    def _windows(self, client: CcaClient, healing: Healing) -> list[Window]:
        from airflow_provider_cca.core.listings import Window

        today = healing.now.date()
        first = today - timedelta(days=_number("lookback_days", self.lookback_days, 1, RETENTION_DAYS))
        windows = []
        for report in _reports(self.report):
            grain = report.grain
            try:
                scopes = list(self._scopes(client, report))
            except (Unauthorized, InvalidConnection, Closed):
                raise
            except CcaError as error:
                healing.failures[_SITES.format(report)] = error
                continue
            windows += [Window(one, Partition.of(first, grain), Partition.of(today, grain)) for one in scopes]
        return windows

    def _scopes(self, client: CcaClient, report: Report) -> Iterator[Scope]:
        if report.needs == "site":
            sites = site_names(self.site) or [site.name for site in client.sites()]
            return (Scope(report, site) for site in dict.fromkeys(sites))
        if report.needs == "level":
            return (Scope(report, level=level) for level in ([self.level] if self.level else LEVELS))
        return iter([Scope(report)])

    def _write_snapshot(self, store: Store, healing: Healing) -> tuple[Snapshot, CcaError | None]:
        """Write what was found over what is there by now: another run may have written since we began.

        Returns what is known, and why it could not be written, after all has been landed.
        """
        back = healing.came_back()  # before the lock, for which others wait
        try:
            with store.lock(""):
                return healing.retry.call(lambda: self._merge_snapshot(store, healing, back)), None
        except (DestinationUnusable, StoreError) as error:
            log.warning("The coverage is left as it was: %s", error)
            return self._merged(healing, healing.before), error

    def _merge_snapshot(self, store: Store, healing: Healing, back: Sequence[Coverage]) -> Snapshot:
        """Raises StoreError when another run writes it meanwhile: then it is to be merged again."""
        from airflow_provider_cca.coverage.document import SNAPSHOT_NAME

        before, stored = _stored_snapshot(store)
        snapshot = self._merged(healing, healing.without(back, before))
        store.replace(SNAPSHOT_NAME, snapshot.to_json(datetime.now(UTC), str(self.destination)), stored)
        return snapshot

    def _merged(self, healing: Healing, before: Snapshot) -> Snapshot:
        from airflow_provider_cca.coverage.document import Snapshot

        found, today = Snapshot.of(healing.coverages.values()), healing.now.date()
        merged = found.over(before, healing.coverages.keys(), today, all_sites=not self.site)
        first = today - timedelta(days=_number("lookback_days", self.lookback_days, 1, RETENTION_DAYS))
        for report in _reports(self.report):
            if _SITES.format(report) in healing.failures:
                days = Partition.of(first, report.grain).until(Partition.of(today, report.grain))
                merged = merged.unknown(Scope(report), days)
        return merged

    def _raise_alarm(self, healing: Healing, snapshot: Snapshot, failed: CcaError | None) -> None:
        """About the gaps of our reports, also those that an earlier run saw outside our window."""
        from airflow_provider_cca.coverage.document import gap_dict, gaps_within

        if not self._wants_alarm():
            return
        days, today = _number("alarm_days", self.alarm_days, 0, RETENTION_DAYS), healing.now.date()
        back, reports = _number("lookback_days", self.lookback_days, 1, RETENTION_DAYS), _reports(self.report)
        if back < RETENTION_DAYS - days:
            log.warning(
                "The alarm is about files that vanish within %d days, those of %d days ago and before; with "
                "lookback_days=%d nobody looks at them",
                *(days, RETENTION_DAYS - days, back),
            )
        gaps = list(
            gaps_within((g for g in snapshot.gaps.values() if g.scope.report in reports), days, today)
        )
        if not gaps:
            return
        errors = [*healing.failures.values(), *([failed] if failed else [])]
        named = "; ".join(
            f"{gap.scope} {gap.partition} ({gap.missing} files, {gap.days_left(today)} days left)"
            for gap in gaps[:3]
        )
        raise ExpiresSoon(
            f"{len(gaps)} partitions have not landed and vanish from the server within {days} days: {named}"
            + (f"; and {len(gaps) - 3} more" if len(gaps) > 3 else "")
            + "".join(f". {error}" for error in errors[:3]),
            gaps=[gap_dict(gap, today) for gap in gaps[:MOST_NAMED]],
            retryable=not errors or any(error.retryable for error in errors),
        ) from (errors[0] if errors else None)


def _say(healing: Healing, destination: str, *, dry_run: bool) -> None:
    """Log what was found and done, in one line; what a dry run would fetch at WARNING."""
    from airflow_provider_cca.coverage.state import State
    from airflow_provider_cca.landing.progress import counted, in_units
    from airflow_provider_cca.reconcile.reconciler import counts

    done, found = counts(healing), list(healing.coverages.values())
    gaps = [one for one in found if one.missing]
    files = sum(one.missing for one in gaps)
    size = sum(one.bytes - one.landed_bytes - sum(size for _, size in one.lost_files) for one in gaps)
    missing = f"{counted(files, 'file')}, {in_units(size)}, in {counted(len(gaps), 'partition')}"
    log.info(
        "Compared %s with %s: %s complete before, %d landed now, with %s downloaded; %d lost, %d empty, "
        "%d unknown",
        counted(len(found), "partition"),
        *(destination, f"{done['complete']:,}", done["healed"], counted(done["downloaded"], "file")),
        *(sum(one.state is state for one in found) for state in (State.LOST, State.EMPTY, State.UNKNOWN)),
    )
    if gaps and dry_run:
        log.warning("Missing, and left so by this dry run: %s. A landing would fetch them", missing)
    elif gaps:
        log.warning("Still missing: %s", missing)
    elif not healing.failures:
        log.info("Nothing is missing that the server still has")


def _raise_failures(healing: Healing, failed: CcaError | None) -> None:
    """Raise what could not be listed or landed, if there is any."""
    if not healing.failures:
        if failed:
            raise failed
        return
    names, error = list(healing.failures), next(iter(healing.failures.values()))
    named = f"{', '.join(names[:20])}{', …' if len(names) > 20 else ''}"
    raise PartlyLanded(
        f"{len(names)} could not be listed ({named}), all else was. The first: {error}"
        f"{f'. {failed}' if failed else ''}",
        failures={name: one.as_dict() for name, one in healing.failures.items()}
        | dict(getattr(failed, "failures", {})),
        retryable=any(one.retryable for one in (*healing.failures.values(), *filter(None, [failed]))),
    ) from error


def _snapshot_before(store: Store, retry: Retry) -> Snapshot:
    """What the last run left; nothing, with a warning, when it cannot be read."""
    from airflow_provider_cca.coverage.document import Snapshot

    try:
        return retry.call(lambda: _stored_snapshot(store))[0]
    except (DestinationUnusable, StoreError) as error:
        log.warning("What earlier runs found is not known to this one: %s", error)
        return Snapshot()


def _stored_snapshot(store: Store) -> tuple[Snapshot, StoredObject | None]:
    """What the last run left, and the object that it is in, if there is any.

    Raises DestinationUnusable when a newer version has written it: it may hold what this one cannot keep.
    """
    from airflow_provider_cca.coverage.document import SNAPSHOT_NAME, NewerVersion, Snapshot

    found = store.present(SNAPSHOT_NAME)
    if found is None:
        return Snapshot(), None
    content, stored = found
    try:
        return Snapshot.from_json(content), stored
    except NewerVersion as error:
        raise DestinationUnusable(
            f"{store.path(SNAPSHOT_NAME)} was written by a newer version of airflow-provider-cca ({error}): "
            "update it where this task runs"
        ) from error
    except ValueError as error:
        log.warning(
            "%s is damaged and is written anew; what was lost before is no longer in it: %s",
            store.path(SNAPSHOT_NAME),
            error,
        )
    return Snapshot(), stored


def _check_needs(reports: Sequence[Report], **values: Any) -> None:
    for name, value in values.items():
        if value and not any(report.needs == name for report in reports):
            names = ", ".join(report.name for report in reports)
            raise InvalidArgument(f"{names}: none takes a {name}, but got {value!r}", argument=name)


def _reports(value: Any) -> list[Report]:
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",")]
    names = value if isinstance(value, Iterable) else filter(None, [value])
    reports = [report_named(name) for name in dict.fromkeys(names)]
    if not reports:
        raise InvalidArgument("there is no report to reconcile: give report=…", argument="report")
    for report in reports:
        if not report.dates:
            raise InvalidArgument(f"report {report.name} has no listing to compare with", argument="report")
    return reports


def _number(name: str, value: Any, least: int, most: int) -> int:
    """A template renders as text."""
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if not least <= number <= most:
        raise InvalidArgument(f"{name} is {value!r}: give a number from {least} to {most}", argument=name)
    return number


def _flag(name: str, value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in {"true", "false", ""}:
        raise InvalidArgument(f"{name} is {value!r}: give True or False", argument=name)
    return text == "true"
