"""An S3 bucket as a store, through a boto3 client. Plain Python: no Airflow, no HTTP of its own.

A small object is one PUT. A larger one goes up in parts while it comes in: no listing shows them, and
nothing is under the key before the upload is completed. One thread writes one object at a time; the client
is shared by all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from airflow_provider_cca.errors import DestinationUnusable, StoreError
from airflow_provider_cca.store.object_meta import StoredObject, stored
from airflow_provider_cca.store.object_store import PART_BYTES, READ_BYTES, Store, Target, is_absent

MAX_PARTS = 9_000
"""Fewer than the 10,000 that S3 allows one upload."""

PARTS_OF_A_SIZE = 100
"""After so many parts the next may be twice as large, up to what the object's size calls for."""


_CHANGED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409"}
_NO_CONDITIONS = {
    *("NotImplemented", "501", "InvalidArgument", "InvalidRequest", "400", "MethodNotAllowed", "405"),
}
"""What is said by stores that cannot write on a condition; others pass over it. What else is wrong with the
request is wrong without the condition too, and is said again."""


class S3Store(Store):
    """A prefix of a bucket.

    :param client: boto3's, for S3.
    :param root: Bucket and prefix, as in `bucket/some/prefix`.
    """

    def __init__(self, client: Any, root: str) -> None:
        super().__init__(root)
        self.client = client
        self.bucket, _, prefix = self.root.partition("/")
        self._start = f"{prefix}/" if prefix else ""

    def name(self, key: str) -> dict[str, str]:
        """Bucket and key, as the calls of S3 want them."""
        return {"Bucket": self.bucket, "Key": f"{self._start}{key}"}

    def sizes(self, folder: str) -> dict[str, int]:
        entries = self._objects(folder, Delimiter="/")
        return {name: int(entry["Size"]) for inside, name, entry in entries if inside == folder}

    def sizes_below(self, folder: str) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for inside, name, entry in self._objects(folder):
            found.setdefault(inside, {})[name] = int(entry["Size"])
        return found

    def objects_below(self, folder: str) -> dict[str, dict[str, StoredObject]]:
        found: dict[str, dict[str, StoredObject]] = {}
        for inside, name, entry in self._objects(folder):
            found.setdefault(inside, {})[name] = stored({**entry, "size": entry["Size"]})
        return found

    def read(self, key: str) -> bytes:
        with self.translated("read", key):
            return bytes(self.client.get_object(**self.name(key))["Body"].read())

    def present(self, key: str) -> tuple[bytes, StoredObject] | None:
        try:
            with self.translated("read", key):
                answer = self.client.get_object(**self.name(key))
                content = bytes(answer["Body"].read())
        except DestinationUnusable as error:
            if is_absent(error.__cause__):
                return None
            raise
        return content, stored({**answer, "size": len(content)})

    def chunks(self, key: str) -> Iterator[bytes]:
        with self.translated("read", key):
            yield from self.client.get_object(**self.name(key))["Body"].iter_chunks(READ_BYTES)

    @contextmanager
    def writing(self, key: str, size: int) -> Iterator[Target]:
        upload = _Upload(self, key, max(PART_BYTES, size // MAX_PARTS))
        try:
            yield upload
        finally:
            upload.discard()

    def replace(self, key: str, content: bytes, before: StoredObject | None) -> None:
        condition = {} if before else {"IfNoneMatch": "*"}
        if before and before.etag:
            condition = {"IfMatch": before.etag}  # Ceph wants it unquoted
        with self.translated("write", key):
            try:
                self.client.put_object(**self.name(key), Body=content, **condition)
            except self.client.exceptions.ClientError as error:
                code = error.response["Error"]["Code"]
                if code in _CHANGED:
                    raise StoreError(f"{self.path(key)} was written by another task meanwhile") from error
                if code not in _NO_CONDITIONS:
                    raise
                self.write(key, content)

    def _objects(self, folder: str, **options: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Folder, name and entry of each object below a folder."""
        with self.translated("list", folder):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=f"{self._start}{folder}/", **options
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    inside, _, name = entry["Key"].removeprefix(self._start).rpartition("/")
                    if name:  # a folder that some console made is an object without one
                        yield inside, name, entry


class _Upload:
    """An object on its way: in memory while it is small, then in parts that nobody sees."""

    def __init__(self, store: S3Store, key: str, part_bytes: int) -> None:
        self._store, self._key, self._part_bytes = store, key, part_bytes
        self._held = bytearray()
        self._id: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._size = 0

    def write(self, chunk: bytes) -> None:
        self._size += len(chunk)
        self._held += chunk
        # The listing can be wrong about the size: parts are large only after many have come.
        if len(self._held) > min(self._part_bytes, PART_BYTES << len(self._parts) // PARTS_OF_A_SIZE):
            with self._store.translated("write", self._key):
                self._send_part()

    def publish(self) -> StoredObject:
        client, name = self._store.client, self._store.name(self._key)
        with self._store.translated("write", self._key):
            if self._id is None:
                answer = client.put_object(**name, Body=self._held)
            else:
                if self._held:
                    self._send_part()
                answer = client.complete_multipart_upload(
                    **name, UploadId=self._id, MultipartUpload={"Parts": self._parts}
                )
                self._id = None
            return stored({**answer, "size": self._size, "LastModified": math.inf})

    def discard(self) -> None:
        """Forget what was not published. Never raises: something else went wrong already."""
        if self._id is not None:
            with suppress(Exception):
                self._store.client.abort_multipart_upload(**self._store.name(self._key), UploadId=self._id)
            self._id = None

    def _send_part(self) -> None:
        client, name, number = self._store.client, self._store.name(self._key), len(self._parts) + 1
        if self._id is None:
            self._id = client.create_multipart_upload(**name)["UploadId"]
        answer = client.upload_part(**name, UploadId=self._id, PartNumber=number, Body=self._held)
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        self._held = bytearray()
