"""The connection form, said once. Airflow 3.2 and later read it from the provider info, 3.1 from the hook."""

from __future__ import annotations

from typing import Any

from airflow_provider_cca.api.config import (
    DEFAULT_DOWNLOAD_HOSTS,
    DEFAULT_HOST,
    MAX_SPEED,
    MAX_TIMEOUT,
    MIN_SPEED,
    CcaConfig,
)
from airflow_provider_cca.reports import MAX_CONNECTIONS

CONNECTION_TYPE = "cca"
NAME = "Cisco Cloud Connected Audio (CCA)"

FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": [],
    "relabeling": {
        "login": "Machine account",
        "password": "Machine account password",
        "schema": "Schema (https, http)",
    },
    "placeholders": {
        "host": DEFAULT_HOST,
        "schema": "https",
        # Airflow 3.3's form would send port 0 and be answered "Bad Request", before it asks the hook.
        "port": "443 (the Test button needs it)",
        "login": "my.account.partnerA",
    },
}
"""How the standard fields are shown."""

EXTRA_FIELDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "download_hosts": (
        "Download hosts",
        {"type": "string"},
        f"Hosts, or suffixes of hosts, that may be sent the token, separated by commas. Default: "
        f"{', '.join(DEFAULT_DOWNLOAD_HOSTS)}; the host itself always may.",
    ),
    "allow_http": (
        "Allow http",
        {"type": "boolean"},
        "Send password and token unencrypted to other machines. Default: no.",
    ),
    "verify": ("Verify TLS", {"type": "string"}, "true, or the path of a CA bundle. Default: true."),
    "proxy": (
        "Proxy",
        {"type": "string"},
        "Such as http://proxy.example:3128. Default: what the environment says.",
    ),
    "max_connections": (
        "Connections",
        {"type": "integer", "minimum": 1, "maximum": MAX_CONNECTIONS},
        f"1 to {MAX_CONNECTIONS}, which is what the API allows one token. Default: {MAX_CONNECTIONS}.",
    ),
    "connect_timeout": (
        "Connect timeout",
        {"type": "number", "minimum": 1, "maximum": MAX_TIMEOUT},
        f"Seconds. Default: {CcaConfig.connect_timeout:g}.",
    ),
    "read_timeout": (
        "Read timeout",
        {"type": "number", "minimum": 1, "maximum": MAX_TIMEOUT},
        f"Seconds without a byte. Default: {CcaConfig.read_timeout:g}.",
    ),
    "answer_timeout": (
        "Answer timeout",
        {"type": "number", "minimum": 1, "maximum": MAX_TIMEOUT},
        "Seconds for a whole answer other than a file. Default: twice the read timeout.",
    ),
    "min_speed": (
        "Least speed",
        {"type": "number", "minimum": MIN_SPEED, "maximum": MAX_SPEED},
        f"KiB/s that a download must bring over a minute. Default: {CcaConfig.min_speed:g}.",
    ),
}
"""Name of each extra -> label, JSON schema (null is always allowed), description."""


def provider_info_fields() -> dict[str, Any]:
    """The extras as `conn-fields` of the provider info."""
    return {
        name: {"label": label, "description": text, "schema": schema | {"type": [schema["type"], "null"]}}
        for name, (label, schema, text) in EXTRA_FIELDS.items()
    }


def widgets() -> dict[str, Any]:
    """The extras as the form fields of Airflow 3.1."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from wtforms import BooleanField, IntegerField, StringField
    from wtforms.validators import Optional

    # Airflow 3.1 drops the whole connection type for a field of any other class.
    kinds = {"string": StringField, "integer": IntegerField, "number": IntegerField}
    return {
        name: BooleanField(label, description=text)
        if schema["type"] == "boolean"
        else kinds[schema["type"]](
            label, validators=[Optional()], widget=BS3TextFieldWidget(), description=text
        )
        for name, (label, schema, text) in EXTRA_FIELDS.items()
    }
