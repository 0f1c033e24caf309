"""The web application behind the coverage page: a few files, and the snapshot for who may read its DAG.

The files hold no data and are given to anybody, as Airflow's own are. The data needs a user: the browser
sends the cookie of the UI, and Airflow's own dependency turns away who is unknown or may not read the DAG
that writes the snapshot.
"""

from __future__ import annotations

from pathlib import Path

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from starlette.staticfiles import StaticFiles

from airflow_provider_cca.ui.coverage_page.stored import NoSnapshot, UnreadableSnapshot, stored_snapshot
from airflow_provider_cca.ui.headers import add_headers

RECONCILE = "cca_reconcile"
"""The DAG whose rights decide: who may read all DAGs, or this one, sees the page."""

app = FastAPI(title="CCA coverage", docs_url=None, redoc_url=None, openapi_url=None)
app.middleware("http")(add_headers)


# Named, or Airflow would take the DAG from the query, and decide on one that the caller chose.
may_read = requires_access_dag(method="GET", param_dag_id=RECONCILE)


# Not async: reading the store blocks, so FastAPI gives it a thread of its own.
@app.get("/data.json", dependencies=[Depends(may_read)])
def data(request: Request) -> Response:
    """The snapshot; 304 when the browser has it, 404 when there is none yet, 502 when it cannot be read."""
    try:
        snapshot = stored_snapshot()
    except NoSnapshot as error:
        raise HTTPException(404, str(error)) from None
    except UnreadableSnapshot as error:
        raise HTTPException(502, str(error)) from None
    headers = {"ETag": f'W/"{snapshot.digest}"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(snapshot.content, media_type="application/json", headers=headers)


app.mount("/", StaticFiles(directory=Path(__file__).parent / "static", html=True))
