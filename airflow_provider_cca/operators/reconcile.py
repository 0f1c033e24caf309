"""Find what has not landed, land it, and write down how far everything has landed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from airflow_provider_cca.core.failures import first_of, partly_landed
from airflow_provider_cca.core.partition import Partition, Scope
from airflow_provider_cca.errors import (
    CcaError,
    Closed,
    DestinationUnusable,
    ExpiresSoon,
    InvalidArgument,
    InvalidConnection,
    StoreError,
    Unauthorized,
)
from airflow_provider_cca.integration.arguments import is_open, site_names
from airflow_provider_cca.integration.requested_range import run_type
from airflow_provider_cca.operators.cca_operator import CcaLandingOperator
from airflow_provider_cca.reports import LEVELS, RETENTION_DAYS, Report, report_named

if TYPE_CHECKING:
    from airflow_provider_cca.api.client import CcaClient
    from airflow_provider_cca.core.listings import Window
    from airflow_provider_cca.core.retry import Retry
    from airflow_provider_cca.coverage.document import Snapshot
    from airflow_provider_cca.coverage.state import Coverage
    from airflow_provider_cca.reconcile.reconciler import Reconciler
    from airflow_provider_cca.store.object_meta import ObjectMeta
    from airflow_provider_cca.store.object_store import Store

log = logging.getLogger(__name__)

VERIFY = ("size", "changed", "content")
MOST_NAMED = 100

MANY_SCOPES = 20
"""Where dates have to be listed one by one, more sites than these are not asked for all of them in a run."""

NEWEST_DATES = 14
ROTATION_DAYS = 14
"""Of such sites the newest dates are listed in each run, and each older one in one run of so many days."""
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
            dry_run = _flag("dry_run", self.only_look)
            reconciler = self._reconciler(client, context)
            reconciler.compare(self._windows(client, reconciler))
            failed = None if dry_run else self._land_missing(client, reconciler)
            _say(reconciler, str(self.destination), dry_run=dry_run)
            snapshot, unwritten = self._write_snapshot(reconciler)
            if not dry_run:
                self._raise_alarm(reconciler, snapshot, failed or unwritten)
            _raise_failures(reconciler, failed or unwritten)
        if not dry_run:
            self.announce_each(context, reconciler.lander.landed)
        return {**counts(reconciler), "snapshot": self.url(SNAPSHOT_NAME)}

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

    def _reconciler(self, client: CcaClient, context: Context) -> Reconciler:
        from airflow_provider_cca.landing.layout import folder_of
        from airflow_provider_cca.landing.manifest_store import Verify
        from airflow_provider_cca.reconcile.inventory import Inventory
        from airflow_provider_cca.reconcile.reconciler import Reconciler

        lander = self.lander(client, context, Verify(self.verify))
        before = _snapshot_before(lander.manifests.store, lander.manifests.retry)
        # A change that one run finds and cannot put right must not pass for whole in the next, which may look
        # less hard.
        doubted = {folder_of(*place) for place, gap in before.gaps.items() if gap.missing}
        return Reconciler(Inventory(lander.manifests, doubted), client.list_ranges, lander, before)

    def _land_missing(self, client: CcaClient, reconciler: Reconciler) -> CcaError | None:
        """Land; what failed for some of the files, when all the others have landed."""
        try:
            reconciler.land_missing(client.list_partition)
        except Closed:
            raise
        except CcaError as error:
            return error
        finally:
            if reconciler.lander.landed or reconciler.lander.failed:
                self._tell(client, reconciler.lander.landed, reconciler.lander.progress.downloaded)
        return None

    def _windows(self, client: CcaClient, reconciler: Reconciler) -> list[Window]:
        from airflow_provider_cca.core.listings import Window

        today = reconciler.now.date()
        first = today - timedelta(days=_number("lookback_days", self.lookback_days, 1, RETENTION_DAYS))
        windows = []
        for report in _reports(self.report):
            grain = report.grain
            try:
                scopes = list(self._scopes(client, report))
            except (Unauthorized, InvalidConnection, Closed):
                raise
            except CcaError as error:
                reconciler.failures[_SITES.format(report)] = error
                continue
            whole = [Window(one, Partition.of(first, grain), Partition.of(today, grain)) for one in scopes]
            if len(scopes) > MANY_SCOPES and not client.can_part_ranges(whole[:MANY_SCOPES]):
                later = frozenset(_dates_of_later_runs(whole[0], today))
                log.warning(
                    "Ranges of %s cannot be parted by createdOn, so each date costs a request a site: this "
                    "run lists the newest %d, and of the others one in %d",
                    *(report.name, NEWEST_DATES, ROTATION_DAYS),
                )
                whole = [replace(window, left_out=later) for window in whole]
            windows += whole
        return windows

    def _scopes(self, client: CcaClient, report: Report) -> Iterator[Scope]:
        if report.needs == "site":
            sites = site_names(self.site) or [site.name for site in client.sites()]
            return (Scope(report, site) for site in dict.fromkeys(sites))
        if report.needs == "level":
            return (Scope(report, level=level) for level in ([self.level] if self.level else LEVELS))
        return iter([Scope(report)])

    def _write_snapshot(self, reconciler: Reconciler) -> tuple[Snapshot, CcaError | None]:
        """Write what was found over what is there by now: another run may have written since we began.

        Returns what is known, and why it could not be written, after all has been landed.
        """
        store, back = reconciler.lander.manifests.store, reconciler.came_back()
        try:
            return reconciler.retry.call(lambda: self._merge_snapshot(store, reconciler, back)), None
        except (DestinationUnusable, StoreError) as error:
            log.warning("The coverage is left as it was: %s", error)
            return self._merged(reconciler, reconciler.before), error

    def _merge_snapshot(self, store: Store, reconciler: Reconciler, back: Sequence[Coverage]) -> Snapshot:
        """Raises StoreError when another run writes it meanwhile: then it is to be merged again."""
        from airflow_provider_cca.coverage.document import SNAPSHOT_NAME

        before, stored = _stored_snapshot(store)
        snapshot = self._merged(reconciler, reconciler.without(back, before))
        store.put_if_unchanged(
            SNAPSHOT_NAME, snapshot.to_json(datetime.now(UTC), str(self.destination)), stored
        )
        return snapshot

    def _merged(self, reconciler: Reconciler, before: Snapshot) -> Snapshot:
        from airflow_provider_cca.coverage.document import Snapshot

        found, today = Snapshot.of(reconciler.coverages.values()), reconciler.now.date()
        merged = found.over(before, reconciler.coverages.keys(), today, all_sites=not self.site)
        first = today - timedelta(days=_number("lookback_days", self.lookback_days, 1, RETENTION_DAYS))
        for report in _reports(self.report):
            if _SITES.format(report) in reconciler.failures:
                days = Partition.of(first, report.grain).until(Partition.of(today, report.grain))
                merged = merged.unknown(Scope(report), days)
        return merged

    def _raise_alarm(self, reconciler: Reconciler, snapshot: Snapshot, failed: CcaError | None) -> None:
        """About the gaps of our reports, also those that an earlier run saw outside our window."""
        from airflow_provider_cca.coverage.document import gap_dict, gaps_within

        if not self._wants_alarm():
            return
        days, today = _number("alarm_days", self.alarm_days, 0, RETENTION_DAYS), reconciler.now.date()
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
        errors = [*reconciler.failures.values(), *([failed] if failed else [])]
        named = first_of(
            f"{gap.scope} {gap.partition} ({gap.missing} files, {gap.days_left(today)} days left)"
            for gap in gaps
        )
        raise ExpiresSoon(
            f"{len(gaps)} partitions have not landed and vanish from the server within {days} days: {named}"
            + "".join(f". {error}" for error in errors[:3]),
            gaps=[gap_dict(gap, today) for gap in gaps[:MOST_NAMED]],
            retryable=not errors or any(error.retryable for error in errors),
        ) from (errors[0] if errors else None)


def _say(reconciler: Reconciler, destination: str, *, dry_run: bool) -> None:
    """Log what was found and done, in one line; what a dry run would fetch at WARNING."""
    from airflow_provider_cca.coverage.state import State
    from airflow_provider_cca.landing.progress import counted, in_units
    from airflow_provider_cca.reconcile.reconciler import counts

    done, found = counts(reconciler), list(reconciler.coverages.values())
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
    elif not reconciler.failures:
        log.info("Nothing is missing that the server still has")


def _dates_of_later_runs(window: Window, today: date) -> Iterator[Partition]:
    """Yield the partitions that this day's run leaves to those of the next days."""
    for age, partition in enumerate(reversed(window.partitions)):
        if age >= NEWEST_DATES and (partition.first - today).days % ROTATION_DAYS:
            yield partition


def _raise_failures(reconciler: Reconciler, failed: CcaError | None) -> None:
    """Raise what could not be listed or landed, if there is any."""
    if not reconciler.failures:
        if failed:
            raise failed
        return
    names, error = list(reconciler.failures), next(iter(reconciler.failures.values()))
    named = f"{', '.join(names[:20])}{', …' if len(names) > 20 else ''}"
    raise partly_landed(
        f"{len(names)} could not be listed ({named}), all else was. The first: {error}",
        reconciler.failures,
        failed,
    ) from error


def _snapshot_before(store: Store, retry: Retry) -> Snapshot:
    """What the last run left; nothing, with a warning, when it cannot be read."""
    from airflow_provider_cca.coverage.document import Snapshot

    try:
        return retry.call(lambda: _stored_snapshot(store))[0]
    except (DestinationUnusable, StoreError) as error:
        log.warning("What earlier runs found is not known to this one: %s", error)
        return Snapshot()


def _stored_snapshot(store: Store) -> tuple[Snapshot, ObjectMeta | None]:
    """What the last run left, and the object that it is in, if there is any.

    Raises DestinationUnusable when a newer version has written it: it may hold what this one cannot keep.
    """
    from airflow_provider_cca.coverage.document import SNAPSHOT_NAME, NewerVersion, Snapshot

    found = store.get(SNAPSHOT_NAME)
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
