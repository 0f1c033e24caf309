"""An S3 bucket as a store, through a boto3 client. Plain Python: no Airflow, no HTTP of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from airflow_provider_cca.store.bucket import BucketStore, Parts
from airflow_provider_cca.store.object_meta import ObjectMeta, from_listing
from airflow_provider_cca.store.object_store import READ_BYTES
from airflow_provider_cca.store.refusals import is_condition_failed

COPY_BYTES = 1 << 30
"""The part of a large object that is copied by one request, of which S3 allows up to 5 GiB."""


class S3Store(BucketStore):
    """A prefix of a bucket.

    :param client: boto3's, for S3.
    :param root: Bucket and prefix, as in `bucket/some/prefix`.
    """

    def __init__(self, client: Any, root: str) -> None:
        super().__init__(root)
        self.client = client

    def name(self, key: str) -> dict[str, str]:
        """Bucket and key, as the calls of S3 want them."""
        return {"Bucket": self.bucket, "Key": f"{self._start}{key}"}

    def _server(self) -> Hashable:
        return (type(self), self.client.meta.endpoint_url, self.bucket)

    def _objects(self, prefix: str, *, recursive: bool) -> Iterator[tuple[str, ObjectMeta]]:
        options = {} if recursive else {"Delimiter": "/"}
        pages = self.client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=prefix, **options):
            for entry in page.get("Contents", ()):
                yield entry["Key"], from_listing({**entry, "size": entry["Size"]})

    def _head(self, key: str) -> ObjectMeta:
        answer = self.client.head_object(**self.name(key))
        return from_listing({**answer, "size": answer["ContentLength"]})

    def _open(self, key: str) -> tuple[ObjectMeta, Iterator[bytes]]:
        answer = self.client.get_object(**self.name(key))
        return from_listing({**answer, "size": answer["ContentLength"]}), answer["Body"].iter_chunks(
            READ_BYTES
        )

    def _put(
        self, key: str, content: bytes, *, create: bool = False, before: ObjectMeta | None = None
    ) -> ObjectMeta:
        put = partial(self.client.put_object, **self.name(key), Body=content)
        if before:
            return _written(self._if_match(key, put, "IfMatch", before.etag), len(content))
        return _written(put(**({"IfNoneMatch": "*"} if create else {})), len(content))

    def _begin(self, key: str, *, create: bool) -> Parts:
        return _MultipartUpload(self.client, self.name(key), create)

    def _copy_if(self, key: str, to: str, meta: ObjectMeta, *, conditional: bool) -> None:
        if meta.size > COPY_BYTES:
            self._copy_in_parts(key, to, meta, conditional=conditional)
            return
        # An object may be copied to itself, as to find out about the condition, only if something changes.
        copy = partial(
            self.client.copy_object,
            **self.name(to),
            CopySource=self.name(key),
            MetadataDirective="REPLACE",
        )
        self._if_match(key, copy, "CopySourceIfMatch", meta.etag) if conditional else copy()

    def _copy_in_parts(self, key: str, to: str, meta: ObjectMeta, *, conditional: bool) -> None:
        upload = _MultipartUpload(self.client, self.name(to), create=False)
        try:
            for start in range(0, meta.size, COPY_BYTES):
                copy = partial(
                    upload.copy, self.name(key), f"bytes={start}-{min(start + COPY_BYTES, meta.size) - 1}"
                )
                self._if_match(key, copy, "CopySourceIfMatch", meta.etag) if conditional else copy()
            upload.complete(b"")
        finally:
            upload.abort()

    def _delete_if(self, key: str, meta: ObjectMeta, *, conditional: bool) -> None:
        delete = partial(self.client.delete_object, **self.name(key))
        self._if_match(key, delete, "IfMatch", meta.etag) if conditional else delete()

    def _if_match(self, key: str, call: Callable[..., Any], condition: str, etag: str) -> Any:
        """Make a call on the condition that the object has this ETag; raises Changed when it has another.

        Ceph compares the tag with what stands between the quotes of an ETag, others may want the quotes.
        """
        for tag in (etag, f'"{etag}"'):
            try:
                return call(**{condition: tag})
            except Exception as error:
                if not is_condition_failed(error):
                    raise
                refused = error
        raise self._changed(key) from refused


class _MultipartUpload:
    """An upload whose parts nobody sees before it is complete."""

    def __init__(self, client: Any, name: dict[str, str], create: bool) -> None:
        self._client = client
        self._condition = {"IfNoneMatch": "*"} if create else {}
        self._upload = {**name, "UploadId": client.create_multipart_upload(**name)["UploadId"]}
        self._parts: list[dict[str, Any]] = []
        self._size = 0
        self._done = False

    def send(self, part: bytes) -> None:
        number = len(self._parts) + 1
        answer = self._client.upload_part(**self._upload, PartNumber=number, Body=part)
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        self._size += len(part)

    def copy(self, source: dict[str, str], part: str, **condition: str) -> None:
        number = len(self._parts) + 1
        answer = self._client.upload_part_copy(
            **self._upload, CopySource=source, CopySourceRange=part, PartNumber=number, **condition
        )
        self._parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})

    def complete(self, last: bytes) -> ObjectMeta:
        if last:
            self.send(last)
        answer = self._client.complete_multipart_upload(
            **self._upload, MultipartUpload={"Parts": self._parts}, **self._condition
        )
        self._done = True
        return _written(answer, self._size)

    def abort(self) -> None:
        """Remove the parts of an upload that is not complete. Never raises."""
        if not self._done:
            with suppress(Exception):
                self._client.abort_multipart_upload(**self._upload)


def _written(answer: dict[str, Any], size: int) -> ObjectMeta:
    """What listings will say of what was just written. Its time is not known: no date is later."""
    return from_listing({**answer, "size": size, "LastModified": math.inf})
