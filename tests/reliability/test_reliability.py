"""What docs/reliability.md says is what the tests show."""

from __future__ import annotations

import json
import re

from airflow_provider_cca import errors
from tests.reliability.fault_table import PAGE, with_tables
from tests.reliability.test_faults import TABLE
from tests.support.s3 import BUCKET


def test_the_pages_tables_are_those_of_the_tests() -> None:
    page = PAGE.read_text()
    assert page == with_tables(page), "run: python -m tests.reliability.fault_table"


def test_every_fault_has_a_name_of_its_own() -> None:
    names = [case.name for cases in TABLE.values() for case in cases]
    assert len(names) == len(set(names))


def test_every_error_that_a_landing_can_meet_is_in_the_table() -> None:
    """Those left out are about arguments, connections, other operators, tasks side by side or waits."""
    shown = {case.error for cases in TABLE.values() for case in cases}
    families = {errors.CcaError, errors.TransientError, errors.UsageError, errors.PermanentError}
    elsewhere = {errors.InvalidArgument, errors.InvalidConnection, errors.TruncatedSnapshot, errors.Forbidden,
                 errors.OutsideRetention, errors.PartlyLanded, errors.Closed, errors.ExpiresSoon,
                 errors.NotLanded, errors.DamagedArchive, errors.HostileArchive,
                 errors.UnsupportedArchive, errors.AlreadyExists, errors.Changed, errors.NotYetListed,
                 errors.Unreachable}  # fmt: skip
    known = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    assert {kind for kind in known if issubclass(kind, errors.CcaError)} - shown == families | elsewhere


def test_an_s3_server_takes_the_rule_that_the_page_gives(s3) -> None:
    (rules,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.S)
    s3.client.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=json.loads(rules))
    (rule,) = s3.client.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    s3.client.delete_bucket_lifecycle(Bucket=BUCKET)
    assert (rule["Status"], rule["AbortIncompleteMultipartUpload"]) == ("Enabled", {"DaysAfterInitiation": 1})
