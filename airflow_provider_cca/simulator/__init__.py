"""A CCA that runs on localhost: every call of the Files Download API v7.1, from a made-up world of files.

It imports nothing of the client side, so that a mistake there is not mirrored here. Nothing is loaded before
it is used, since the pytest plugin lies in this package and every test run loads that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cca.simulator.clock import Clock
    from airflow_provider_cca.simulator.exchange import Request
    from airflow_provider_cca.simulator.faults import (
        Asked,
        BadJson,
        CutAfter,
        Delay,
        Hang,
        Match,
        NoLength,
        Redirect,
        Reset,
        Rule,
        Status,
        StillProcessing,
        TokenExpired,
        Trickle,
        TruncatedJson,
        WrongBytes,
    )
    from airflow_provider_cca.simulator.files import CcaFile
    from airflow_provider_cca.simulator.simulator import Simulator, Truth
    from airflow_provider_cca.simulator.sites import ODD_SITES
    from airflow_provider_cca.simulator.ways import Ways
    from airflow_provider_cca.simulator.world import World

__all__ = [
    "ODD_SITES",
    "Asked",
    "BadJson",
    "CcaFile",
    "Clock",
    "CutAfter",
    "Delay",
    "Hang",
    "Match",
    "NoLength",
    "Redirect",
    "Request",
    "Reset",
    "Rule",
    "Simulator",
    "Status",
    "StillProcessing",
    "TokenExpired",
    "Trickle",
    "TruncatedJson",
    "Truth",
    "Ways",
    "World",
    "WrongBytes",
]

_HOMES = {
    "ODD_SITES": "sites",
    "CcaFile": "files",
    "Clock": "clock",
    "Request": "exchange",
    "Simulator": "simulator",
    "Truth": "simulator",
    "Ways": "ways",
    "World": "world",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'faults')}"), name)
