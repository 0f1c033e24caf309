"""What Airflow asks a provider package about itself."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Entry point of group `apache_airflow_provider`."""
    from airflow_provider_cca import __version__
    from airflow_provider_cca.integration import connection_form as form

    return {
        "package-name": "airflow-provider-cca",
        "name": form.NAME,
        "description": "Files Download API v7.1 of Cisco's Cloud Connected Audio: CDR and peak-port files",
        "versions": [__version__],
        "connection-types": [
            {
                "connection-type": form.CONNECTION_TYPE,
                "hook-class-name": "airflow_provider_cca.hooks.CcaHook",
                "hook-name": form.NAME,
                "ui-field-behaviour": form.FIELD_BEHAVIOUR,
                "conn-fields": form.provider_info_fields(),
            }
        ],
        "extra-links": [
            "airflow_provider_cca.extra_links.LandedFilesLink",
            "airflow_provider_cca.extra_links.ReportDocsLink",
        ],
    }
