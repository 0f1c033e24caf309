"""An S3 bucket as a store, through a boto3 client. Plain Python: no Airflow, no HTTP of its own.

A small object is one PUT. A larger one goes up in parts while it comes in: no listing shows them, and
nothing is under the key before the upload is completed. One thread writes one object at a time; the client
is shared by all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from airflow_provider_cca.errors import Changed
from airflow_provider_cca.store.object_meta import ObjectMeta, from_listing
from airflow_provider_cca.store.object_store import (
    PART_BYTES,
    PROBE,
    PROBE_CONTENT,
    READ_BYTES,
    Capabilities,
    Store,
    Target,
)
from airflow_provider_cca.store.refusals import codes_of, is_condition_failed

MAX_PARTS = 9_000
"""Fewer than the 10,000 that S3 allows one upload."""

PARTS_OF_A_SIZE = 100
"""After so many parts the next may be twice as large, up to what the object's size calls for."""

COPY_BYTES = 1 << 30
"""The part of a large object that is copied by one request, of which S3 allows up to 5 GiB."""

_NO_CONDITIONS = {
    *("NotImplemented", "501", "InvalidArgument", "InvalidRequest", "400", "MethodNotAllowed", "405"),
    "ParamValidationError",  # of a boto3 that is older than the condition
}
"""What is answered where conditions are unknown; other servers pass over them."""


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

    def list(self, folder: str) -> dict[str, ObjectMeta]:
        return {name: meta for inside, name, meta in self._objects(folder, Delimiter="/") if inside == folder}

    def list_below(self, folder: str) -> dict[str, dict[str, ObjectMeta]]:
        found: dict[str, dict[str, ObjectMeta]] = {}
        for inside, name, meta in self._objects(folder):
            found.setdefault(inside, {})[name] = meta
        return found

    def _head(self, key: str) -> ObjectMeta:
        answer = self.client.head_object(**self.name(key))
        return from_listing({**answer, "size": answer["ContentLength"]})

    def _read(self, key: str) -> tuple[bytes, ObjectMeta]:
        answer = self.client.get_object(**self.name(key))
        content = bytes(answer["Body"].read())
        return content, from_listing({**answer, "size": len(content)})

    def chunks(self, key: str) -> Iterator[bytes]:
        with self.translated("read", key):
            yield from self.client.get_object(**self.name(key))["Body"].iter_chunks(READ_BYTES)

    @contextmanager
    def writing(self, key: str, size: int, *, create: bool = False) -> Iterator[Target]:
        upload = _Upload(self, key, max(PART_BYTES, size // MAX_PARTS), create)
        try:
            yield upload
        finally:
            upload.discard()

    def put_if_unchanged(self, key: str, content: bytes, before: ObjectMeta | None) -> ObjectMeta:
        if before is None or not before.etag or not self.capabilities().put_if_unchanged:
            return super().put_if_unchanged(key, content, before)
        with self.translated("write", key):
            put = partial(self.client.put_object, **self.name(key), Body=content)
            return _written(self._if_match(key, put, "IfMatch", before.etag), len(content))

    def replace(self, key: str, content: bytes, before: ObjectMeta | None) -> None:
        self.put_if_unchanged(key, content, before)

    def _copy(self, key: str, to: str, meta: ObjectMeta) -> None:
        if not self.capabilities().retire:
            self._must_be(key, meta)
        if meta.size > COPY_BYTES:
            self._copy_in_parts(key, to, meta)
            return
        copy = partial(self.client.copy_object, **self.name(to), CopySource=self.name(key))
        if self.capabilities().retire:
            self._if_match(key, copy, "CopySourceIfMatch", meta.etag)
        else:
            copy()

    def _copy_in_parts(self, key: str, to: str, meta: ObjectMeta) -> None:
        upload, parts = self._upload(self.name(to)), []
        try:
            for number, start in enumerate(range(0, meta.size, COPY_BYTES), 1):
                copy = partial(
                    self.client.upload_part_copy,
                    **upload,
                    CopySource=self.name(key),
                    PartNumber=number,
                    CopySourceRange=f"bytes={start}-{min(start + COPY_BYTES, meta.size) - 1}",
                )
                conditional = self.capabilities().retire
                answer = self._if_match(key, copy, "CopySourceIfMatch", meta.etag) if conditional else copy()
                parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
            self.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        except BaseException:
            with suppress(Exception):
                self.client.abort_multipart_upload(**upload)
            raise

    def _upload(self, name: dict[str, str]) -> dict[str, str]:
        return {**name, "UploadId": self.client.create_multipart_upload(**name)["UploadId"]}

    def _delete(self, key: str, meta: ObjectMeta) -> None:
        delete = partial(self.client.delete_object, **self.name(key))
        if self.capabilities().retire:
            self._if_match(key, delete, "IfMatch", meta.etag)
        else:
            self._must_be(key, meta)
            delete()

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

    def _server(self) -> Hashable:
        return (type(self), self.client.meta.endpoint_url, self.bucket)

    def _ask(self) -> Capabilities:
        name = self.name(PROBE)
        put = partial(self.client.put_object, **name, Body=PROBE_CONTENT)
        before = self.head(PROBE) or _written(put(), len(PROBE_CONTENT))
        create = _is_refused(partial(put, IfNoneMatch="*"))
        unchanged = self._obeys(put, "IfMatch", before.etag)
        copy = partial(self.client.copy_object, **name, CopySource=name, MetadataDirective="REPLACE")
        # The delete comes last: where its condition is passed over, the object is gone.
        retire = self._obeys(copy, "CopySourceIfMatch", before.etag) and _is_refused(
            partial(self.client.delete_object, **name, IfMatch=_other(before.etag))
        )
        return Capabilities(create, self._creates_in_parts(name), create and unchanged, retire)

    def _obeys(self, call: Callable[..., Any], condition: str, etag: str) -> bool:
        """Return whether a call is refused with another ETag, and not with this one."""
        if not _is_refused(partial(call, **{condition: _other(etag)})):
            return False
        try:
            self._if_match(PROBE, call, condition, etag)
        except Changed:
            return False
        return True

    def _creates_in_parts(self, name: dict[str, str]) -> bool:
        upload = self._upload(name)
        part = self.client.upload_part(**upload, PartNumber=1, Body=PROBE_CONTENT)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        complete = partial(self.client.complete_multipart_upload, **upload, MultipartUpload=parts)
        try:
            return _is_refused(partial(complete, IfNoneMatch="*"))
        finally:
            with suppress(Exception):
                self.client.abort_multipart_upload(**upload)

    def _objects(self, folder: str, **options: str) -> Iterator[tuple[str, str, ObjectMeta]]:
        """Folder, name and meta of each object below a folder."""
        with self.translated("list", folder):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=f"{self._start}{folder}/" if folder else self._start, **options
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    inside, _, name = entry["Key"].removeprefix(self._start).rpartition("/")
                    if name:  # a folder that some console made is an object without one
                        yield inside, name, from_listing({**entry, "size": entry["Size"]})


class _Upload:
    """An object on its way: in memory while it is small, then in parts that nobody sees."""

    def __init__(self, store: S3Store, key: str, part_bytes: int, create: bool) -> None:
        self._store, self._key, self._part_bytes, self._only_new = store, key, part_bytes, create
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

    def publish(self) -> ObjectMeta:
        condition = self._condition() if self._only_new else {}
        with self._store.translated("write", self._key):
            try:
                return _written(self._published(condition), self._size)
            except Exception as error:
                if condition and is_condition_failed(error):
                    raise self._store._exists(self._key) from error
                raise

    def _condition(self) -> dict[str, str]:
        """What makes the store refuse to write over an object.

        Where it takes no such condition, raises AlreadyExists when there is one.
        """
        can = self._store.capabilities()
        if can.create if self._id is None else can.create_in_parts:
            return {"IfNoneMatch": "*"}
        self._store._must_not_exist(self._key)
        return {}

    def _published(self, condition: dict[str, str]) -> dict[str, Any]:
        client, name = self._store.client, self._store.name(self._key)
        if self._id is None:
            return dict(client.put_object(**name, Body=self._held, **condition))
        if self._held:
            self._send_part()
        answer = client.complete_multipart_upload(
            **name, UploadId=self._id, MultipartUpload={"Parts": self._parts}, **condition
        )
        self._id = None
        return dict(answer)

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


def _written(answer: dict[str, Any], size: int) -> ObjectMeta:
    """What listings will say of what was just written. Its time is not known: no date is later."""
    return from_listing({**answer, "size": size, "LastModified": math.inf})


def _other(etag: str) -> str:
    """An ETag that no object has which has this one."""
    return ("1" if etag[:1] == "0" else "0") + etag[1:]


def _is_refused(call: Callable[[], Any]) -> bool:
    """Return whether a call is refused for its condition; False when that is passed over, or unknown."""
    try:
        call()
    except Exception as error:
        if is_condition_failed(error):
            return True
        if codes_of(error) & _NO_CONDITIONS:
            return False
        raise
    return False
