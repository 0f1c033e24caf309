"""List, download and land the files of the API; compare, extract.

Each is imported when it is asked for: a DAG that uses one would take longer to parse with all of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cca.operators.extract import CcaExtractOperator
    from airflow_provider_cca.operators.landing import CcaDownloadFilesOperator, CcaToObjectStorageOperator
    from airflow_provider_cca.operators.listing import CcaListFilesOperator, CcaListSitesOperator
    from airflow_provider_cca.operators.reconcile import CcaReconcileOperator
    from airflow_provider_cca.operators.site_list import CcaSiteListToObjectStorageOperator

__all__ = [
    "CcaDownloadFilesOperator",
    "CcaExtractOperator",
    "CcaListFilesOperator",
    "CcaListSitesOperator",
    "CcaReconcileOperator",
    "CcaSiteListToObjectStorageOperator",
    "CcaToObjectStorageOperator",
]

_MODULES = {
    "CcaDownloadFilesOperator": "landing",
    "CcaExtractOperator": "extract",
    "CcaListFilesOperator": "listing",
    "CcaListSitesOperator": "listing",
    "CcaReconcileOperator": "reconcile",
    "CcaSiteListToObjectStorageOperator": "site_list",
    "CcaToObjectStorageOperator": "landing",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
