"""The web application that serves the documentation, as the plugin mounts it.

It holds no data, only what is in the package for everybody: so it asks for no login, as the files of the
coverage page and Airflow's own do not.
"""

from __future__ import annotations

from html import escape
from string import Template

from fastapi import FastAPI, HTTPException, Response
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse

from airflow_provider_cca.ui.docs_page.rendered import TEMPLATE, addresses, root, web_page
from airflow_provider_cca.ui.headers import add_headers

ROOT = root()
SERVED = addresses(ROOT)
# What is asked for is looked up here, and never made into a path.
FILES = {address: name for name, address in SERVED.items()}

app = FastAPI(title="CCA documentation", docs_url=None, redoc_url=None, openapi_url=None)
app.middleware("http")(add_headers)


@app.get("/docs.css")
def style() -> Response:
    """The look of the pages."""
    return FileResponse(TEMPLATE.with_name("docs.css"))


@app.get("/landed")
def landed(folder: str = "") -> Response:
    """The name of a folder in a store that browsers cannot show, as text for the links of landings."""
    about = "The files of this landing, and their manifest, are in this folder, which a browser cannot open:"
    body = f"<h1>Landed files</h1>\n<p>{about}</p>\n<pre>{escape(folder[:2000])}</pre>"
    return HTMLResponse(Template(TEMPLATE.read_text()).substitute(title="Landed files", body=body))


# Not async: rendering takes a while, so FastAPI gives it a thread of its own.
@app.get("/{address:path}")
def document(address: str) -> Response:
    """A page, a picture, or the source of a DAG; 404 for anything else."""
    if address not in FILES:
        raise HTTPException(404, "There is no such page.")
    name = FILES[address]
    path = ROOT / name
    if path.suffix == ".md":
        return HTMLResponse(web_page(path.read_text(encoding="utf-8"), name, SERVED))
    return PlainTextResponse(path.read_text(encoding="utf-8")) if path.suffix == ".py" else FileResponse(path)
