"""A Google Cloud Storage bucket as a store, through google-cloud-storage. Plain Python: no Airflow."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from contextlib import suppress
from typing import Any

from airflow_provider_cca.store.bucket import BucketStore, Parts
from airflow_provider_cca.store.object_meta import ObjectMeta, md5_of_base64
from airflow_provider_cca.store.object_store import PART_BYTES

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two packets of an answer."""

_ONCE: dict[str, Any] = {"retry": None, "timeout": TIMEOUT}
"""Calls are tried again by who makes them: the client would do so for two minutes."""

_TYPE = "application/octet-stream"


class GcsStore(BucketStore):
    """A prefix of a bucket. The version of an object is its generation.

    :param client: google.cloud.storage's.
    :param root: Bucket and prefix, as in `bucket/some/prefix`.
    :param user_project: The project that pays for requests, where the bucket's owner does not.
    """

    def __init__(self, client: Any, root: str, user_project: str | None = None) -> None:
        super().__init__(root)
        self.client = client
        self._bucket = client.bucket(self.bucket, user_project=user_project)

    def _blob(self, key: str) -> Any:
        return self._bucket.blob(f"{self._start}{key}")

    def _server(self) -> Hashable:
        return (type(self), self.client.api_endpoint, self.bucket)

    def _objects(self, prefix: str, *, recursive: bool) -> Iterator[tuple[str, ObjectMeta]]:
        delimiter = None if recursive else "/"
        for blob in self.client.list_blobs(self._bucket, prefix=prefix, delimiter=delimiter, **_ONCE):
            yield blob.name, _meta(blob)

    def _head(self, key: str) -> ObjectMeta:
        blob = self._blob(key)
        blob.reload(**_ONCE)
        return _meta(blob)

    def _open(self, key: str) -> tuple[ObjectMeta, Iterator[bytes]]:
        blob, meta = self._blob(key), self._head(key)

        def part(start: int) -> bytes:
            end = min(start + PART_BYTES, meta.size) - 1
            version = int(meta.etag)
            return blob.download_as_bytes(start=start, end=end, if_generation_match=version, **_ONCE)  # type: ignore[no-any-return]

        return meta, map(part, range(0, meta.size, PART_BYTES))

    def _put(
        self, key: str, content: bytes, *, create: bool = False, before: ObjectMeta | None = None
    ) -> ObjectMeta:
        blob = self._blob(key)
        version = 0 if create else int(before.etag) if before else None
        blob.upload_from_string(content, _TYPE, if_generation_match=version, **_ONCE)
        return _meta(blob)._replace(modified=math.inf)

    def _begin(self, key: str, *, create: bool) -> Parts:
        url = self._blob(key).create_resumable_upload_session(
            _TYPE, if_generation_match=0 if create else None, **_ONCE
        )
        return _ResumableUpload(self.client, url)

    def _copy_if(self, key: str, to: str, meta: ObjectMeta, *, conditional: bool) -> None:
        source, copy, token = self._blob(key), self._blob(to), None
        version = int(meta.etag) if conditional else None
        while True:  # a large object takes several requests
            token, _, _ = copy.rewrite(source, token=token, if_source_generation_match=version, **_ONCE)
            if token is None:
                return

    def _delete_if(self, key: str, meta: ObjectMeta, *, conditional: bool) -> None:
        self._blob(key).delete(if_generation_match=int(meta.etag) if conditional else None, **_ONCE)


class _ResumableUpload:
    """An upload of which nothing is visible until its last part has come."""

    def __init__(self, client: Any, url: str) -> None:
        self._http, self._url, self._sent, self._done = client._http, url, 0, False

    def send(self, part: bytes) -> None:
        self._put(part, "*", {308})

    def complete(self, last: bytes) -> ObjectMeta:
        answer = self._put(last, str(self._sent + len(last)), {200, 201}).json()
        self._done = True
        return ObjectMeta(
            int(answer["size"]), math.inf, md5_of_base64(answer.get("md5Hash")), str(answer["generation"])
        )

    def _put(self, part: bytes, total: str, expected: set[int]) -> Any:
        from google.api_core.exceptions import from_http_response

        last = self._sent + len(part) - 1
        place = f"bytes {self._sent}-{last}/{total}" if part else f"bytes */{total}"
        answer = self._http.put(
            self._url, data=part, headers={"Content-Range": place}, timeout=TIMEOUT, allow_redirects=False
        )
        if answer.status_code not in expected:
            raise from_http_response(answer)
        self._sent += len(part)
        return answer

    def abort(self) -> None:
        """Remove the parts of an upload that is not complete. Never raises."""
        if not self._done:
            with suppress(Exception):
                self._http.delete(self._url, timeout=TIMEOUT)


def _meta(blob: Any) -> ObjectMeta:
    updated = blob.updated.timestamp() if blob.updated else 0.0
    return ObjectMeta(blob.size or 0, updated, md5_of_base64(blob.md5_hash), str(blob.generation or ""))
