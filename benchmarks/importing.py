"""What importing this package adds to a Python that has loaded `airflow.sdk`, as JSON."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import airflow.sdk

for name in airflow.sdk.__all__:
    with suppress(AttributeError):  # it promises one name that it does not have
        getattr(airflow.sdk, name)  # `import airflow.sdk` alone loads next to nothing

cpu, started = time.process_time(), time.monotonic()

import airflow_provider_cca.operators  # noqa: E402 - the import is the work
import airflow_provider_cca.sensors  # noqa: E402, F401

print(json.dumps({"seconds": time.monotonic() - started, "cpu": time.process_time() - cpu}))
