"""Validate operator arguments at parse time. Templated values are checked when the task runs."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

from airflow.sdk import XComArg

from airflow_provider_cca.core.destination import Destination
from airflow_provider_cca.core.partition import Partition
from airflow_provider_cca.errors import InvalidArgument
from airflow_provider_cca.reports import LEVELS, check_listing, report_named


class CheckedArguments:
    """Mixin of the operators and the sensor: when their arguments are checked, and which are rendered."""

    @property
    def of_dag_file(self) -> bool:
        """Whether a DAG file makes this operator: its arguments are checked at once.

        A worker makes the operator of a mapped task anew, and Airflow retries a task whose operator cannot be
        made: there `execute` finds what is wrong, and fails for good.
        """
        return not getattr(self, "_BaseOperator__from_mapped", False)

    def _do_render_template_fields(
        self, parent: Any, template_fields: Any, context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        # Airflow renders what expand_kwargs takes from an XCom: the name of a site could read any secret.
        seen_oids.update(id(getattr(self, name)) for name in self._fields_from_xcom())
        super()._do_render_template_fields(  # type: ignore[misc]
            parent, template_fields, context, jinja_env, seen_oids
        )

    def _fields_from_xcom(self) -> list[str]:
        """Return the templated fields that `expand_kwargs` has filled from an XCom."""
        if self.of_dag_file:
            return []
        operator: Any = self
        mapped = operator.dag.task_dict[operator.task_id]
        rows = mapped.expand_input.value
        if not any(isinstance(row, XComArg) for row in (rows if isinstance(rows, list | tuple) else [rows])):
            return []
        return [name for name in operator.template_fields if name not in mapped.partial_kwargs]


def check_arguments(
    *,
    report: object,
    site: object = None,
    level: Any = None,
    by: object = "creation",
    partition: object = None,
    partition_end: object = None,
) -> None:
    """Raise InvalidArgument when plain values cannot be right; templates and XComs are left for the run."""
    for name, value in (("partition", partition), ("partition_end", partition_end)):
        if value is not None and not isinstance(value, str) and not is_open(value):
            raise InvalidArgument(f"{name} is {value!r}, which is no text", argument=name)
    if partition_end and not partition:
        raise InvalidArgument("partition_end is given without partition", argument="partition_end")
    if level and not is_open(level) and level not in LEVELS:
        raise InvalidArgument(
            f"there is no level {level!r}: use one of {', '.join(LEVELS)}", argument="level"
        )
    if is_open(report):
        return
    row = report_named(str(report))
    if not any(is_open(value) for value in (by, level, site)):
        for one in _each(site):
            check_listing(row, by=str(by), site=one, level=level)
    given = [Partition.parse(str(p), row.grain) for p in (partition, partition_end) if p and not is_open(p)]
    if by == "new" and partition:
        raise InvalidArgument('by="new" takes no partition', argument="partition")
    if given != sorted(given):
        raise InvalidArgument(
            f"partition_end {given[1]} lies before partition {given[0]}", argument="partition_end"
        )


def check_destination(destination: object, name: str = "destination") -> None:
    """Raise InvalidArgument when a plain destination, or a source, cannot be right."""
    if is_open(destination):
        return
    Destination.parse(destination, name)


def is_open(value: object) -> bool:
    """Whether the value is known only at run time: a template, an XCom, or something that holds one."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, list | tuple):
        return any(is_open(one) for one in value)
    return value is not None and not isinstance(value, str | int | float | bool | dict)


def site_names(value: Any) -> list[str]:
    """Return the sites that the argument `site` names: a name, a list of names, or the text of a list.

    Templates render a list as text, of Python or with the filter `tojson` of JSON, and under native rendering
    a name of digits as a number. Raises InvalidArgument.
    """
    names = [] if isinstance(value, str) and value.strip() in {"", "None"} else listed(value, list)
    if not all(isinstance(name, str | int | float) and not isinstance(name, bool) for name in names):
        raise InvalidArgument(f"site must be a name or a list of names, got {value!r}", argument="site")
    return list(dict.fromkeys(map(str, names)))


def site_name(value: Any) -> str | None:
    """Return the one site that the argument names, or None. Raises InvalidArgument if it names several."""
    names = site_names(value)
    if len(names) > 1:
        raise InvalidArgument(
            f"site must be one name here, got {len(names)}: map the task over them, as by .expand(site=…)",
            argument="site",
        )
    return names[0] if names else None


def listed(value: Any, *kinds: type) -> list[Any]:
    """Return the items of a list, also of one written as JSON or Python text; anything else as the one item.

    :param kinds: What a text may hold to be read as more than a text: list, dict.
    """
    if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
        for read in (json.loads, ast.literal_eval):
            try:
                found = read(value.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            if isinstance(found, kinds):
                value = found
                break
    if value is None:
        return []
    return [value] if isinstance(value, str | Mapping) or not hasattr(value, "__iter__") else list(value)


def _each(site: Any) -> list[Any]:
    """The sites that are meant; an empty list of them is no site."""
    return list(site) or [None] if isinstance(site, list | tuple) else [site]
