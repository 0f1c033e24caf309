"""The connection form, said once. Airflow 3.2 and later read it from the provider info, 3.1 from the hook."""

from __future__ import annotations

from typing import Any

from airflow_provider_cca.config import DEFAULT_DOWNLOAD_HOSTS, DEFAULT_HOST, CcaConfig
from airflow_provider_cca.reports import MAX_CONNECTIONS

CONNECTION_TYPE = "cca"
NAME = "Cisco Cloud Connected Audio (CCA)"

FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": [],
    "relabeling": {"login": "Machine account", "password": "Machine account password"},
    "placeholders": {"host": DEFAULT_HOST, "schema": "https", "login": "my.account.partnerA"},
}
"""How the standard fields are shown."""

EXTRA_FIELDS: dict[str, tuple[str, str, str]] = {
    "download_hosts": (
        "Download hosts",
        "string",
        f"Hosts, or suffixes of hosts, that may be sent the token, separated by commas. Default: "
        f"{', '.join(DEFAULT_DOWNLOAD_HOSTS)}; the host itself always may.",
    ),
    "allow_http": (
        "Allow http",
        "boolean",
        "Send password and token unencrypted to other machines. Default: no.",
    ),
    "verify": ("Verify TLS", "string", "true, or the path of a CA bundle. Default: true."),
    "proxy": ("Proxy", "string", "URL of a proxy. Default: what the environment says."),
    "max_connections": (
        "Connections",
        "integer",
        f"1 to {MAX_CONNECTIONS}, which is what the API allows one token. Default: {MAX_CONNECTIONS}.",
    ),
    "connect_timeout": (
        "Connect timeout",
        "number",
        f"Seconds. Default: {CcaConfig.connect_timeout:g}.",
    ),
    "read_timeout": (
        "Read timeout",
        "number",
        f"Seconds without a byte. Default: {CcaConfig.read_timeout:g}.",
    ),
}
"""Name of each extra -> label, JSON type, description."""


def provider_info_fields() -> dict[str, Any]:
    """The extras as `conn-fields` of the provider info."""
    return {
        name: {"label": label, "description": text, "schema": {"type": [kind, "null"]}}
        for name, (label, kind, text) in EXTRA_FIELDS.items()
    }


def widgets() -> dict[str, Any]:
    """The extras as the form fields of Airflow 3.1."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from wtforms import BooleanField, FloatField, IntegerField, StringField
    from wtforms.validators import Optional

    kinds = {"string": StringField, "integer": IntegerField, "number": FloatField}
    return {
        name: BooleanField(label, description=text)
        if kind == "boolean"
        else kinds[kind](label, validators=[Optional()], widget=BS3TextFieldWidget(), description=text)
        for name, (label, kind, text) in EXTRA_FIELDS.items()
    }
