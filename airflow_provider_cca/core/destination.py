"""A destination, as users write it: where objects go, and what its URLs are. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_cca.errors import InvalidArgument

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:(?P<conn_id>[^/]*)@)?(?P<root>.*)", re.DOTALL)
_NAMESPACES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfss": "abfs"}


@dataclass(frozen=True)
class Destination:
    """An absolute path, or a URL such as s3://aws_default@bucket/cca.

    :param scheme: As it was written; "file" for a path.
    :param conn_id: Airflow's connection; "" when none is named.
    :param root: Bucket and prefix, or a folder, without a slash at its end.
    """

    scheme: str
    conn_id: str
    root: str

    @classmethod
    def parse(cls, text: object, argument: str = "destination") -> Destination:
        """Return what a text means; raises InvalidArgument when it is no destination.

        :param argument: Where it was given, for messages.
        """
        url = str(text or "").strip()
        if url in ("", "None"):  # None: a template without a value
            raise InvalidArgument(
                f"the {argument} is empty: set the Airflow Variable cca_storage, or give {argument}=…",
                argument=argument,
            )
        match = _URL.fullmatch(url)
        scheme, conn_id, root = match.group("scheme", "conn_id", "root") if match else ("file", None, url)
        if problem := _problem(scheme, conn_id, root, is_url=bool(match)):
            raise InvalidArgument(f"{argument} {url!r} {problem}", argument=argument)
        return cls(scheme, conn_id or "", root.rstrip("/"))

    def url(self, key: str = "") -> str:
        """Return where a key is, as Airflow's ObjectStoragePath takes it: with the connection."""
        user = f"{self.conn_id}@" if self.conn_id else ""
        return self._joined(f"{'' if self.scheme == 'file' else f'{self.scheme}://'}{user}{self.root}", key)

    def without_connection(self, key: str = "") -> str:
        """Return where a key is, for whoever has credentials of his own; of a disk, as a path."""
        return self._joined(f"{'' if self.scheme == 'file' else f'{self.scheme}://'}{self.root}", key)

    def dataset(self) -> tuple[str, str]:
        """Return the namespace in OpenLineage, and what the names of the datasets there begin with."""
        if self.scheme == "file":
            return "file", f"{self.root}/"
        place, _, path = self.root.partition("/")
        return f"{_NAMESPACES.get(self.scheme, self.scheme)}://{place}", f"{path}/" if path else ""

    def _joined(self, root: str, key: str) -> str:
        return f"{root}/{key}" if key else root or "/"


def _problem(scheme: str, conn_id: str | None, root: str, *, is_url: bool) -> str | None:
    """Why it is no destination; None when it is one."""
    if scheme == "file" and (conn_id is not None or not root.startswith("/")):
        return "is a relative path, another folder on every worker: give an absolute path or a URL"
    if "//" in root:
        return "has // in it, which some programs take for /, so that objects would not be found: write one /"
    if is_url and scheme == "file" and "%" in root:
        return "has % in it, which some programs decode: give the folder as a path, without file://"
    if is_url and scheme != "file" and (found := re.search(r"[?#]", root)):
        return f"has {found[0]} in it, where some programs let the path end: choose another name"
    if any(ord(letter) < 32 for letter in root):
        return "has a control character in it: check for a line break"
    return None
