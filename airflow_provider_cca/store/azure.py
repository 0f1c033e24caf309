"""An Azure container as a store, through the client of adlfs. Plain Python: no Airflow."""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
from collections.abc import Awaitable, Callable, Hashable, Iterator
from functools import partial
from typing import Any, TypeVar

from airflow_provider_cca.store.bucket import BucketStore, Parts
from airflow_provider_cca.store.object_meta import ObjectMeta, md5_of_base64
from airflow_provider_cca.store.object_store import PART_BYTES

T = TypeVar("T")

_ONCE: dict[str, Any] = {"retry_total": 0}
"""Calls are tried again by who makes them: the client would wait for 15 seconds and more before it did."""

COPY_POLL_SECONDS = 0.5


class AzureStore(BucketStore):
    """A prefix of a container.

    :param fs: adlfs', for its client, its credentials and its loop; nothing is asked through its caches.
    :param root: Container and prefix, as in `container/some/prefix`.
    """

    def __init__(self, fs: Any, root: str) -> None:
        super().__init__(root)
        self.fs = fs
        service = fs.service_client
        self._service = service[0] if isinstance(service, list | tuple) else service
        self._container = self._service.get_container_client(self.bucket)

    def blob(self, key: str) -> Any:
        return self._container.get_blob_client(f"{self._start}{key}")

    def sync(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what a call of the client gives: its calls run on the loop of adlfs alone."""
        from fsspec.asyn import sync

        return sync(self.fs.loop, call)  # type: ignore[no-any-return]

    def _server(self) -> Hashable:
        return (type(self), self._service.url, self.bucket)

    def _objects(self, prefix: str, *, recursive: bool) -> Iterator[tuple[str, ObjectMeta]]:
        async def listed() -> list[tuple[str, ObjectMeta]]:
            options = {"name_starts_with": prefix, "include": ["metadata"], **_ONCE}
            found = (
                self._container.list_blobs(**options)
                if recursive
                else self._container.walk_blobs(**options, delimiter="/")
            )
            return [(one.name, _meta(one)) async for one in found if _is_object(one)]

        return iter(self.sync(listed))

    def _head(self, key: str) -> ObjectMeta:
        return _meta(self.sync(lambda: self.blob(key).get_blob_properties(**_ONCE)))

    def _open(self, key: str) -> tuple[ObjectMeta, Iterator[bytes]]:
        meta = self._head(key)

        async def part(start: int) -> bytes:
            answer = await self.blob(key).download_blob(
                offset=start, length=min(PART_BYTES, meta.size - start), **_if_is(meta), **_ONCE
            )
            return bytes(await answer.readall())

        return meta, (self.sync(partial(part, start)) for start in range(0, meta.size, PART_BYTES))

    def _put(
        self, key: str, content: bytes, *, create: bool = False, before: ObjectMeta | None = None
    ) -> ObjectMeta:
        condition = _if_is(before) if before else {}
        answer = self.sync(
            lambda: self.blob(key).upload_blob(content, overwrite=not create, **condition, **_ONCE)
        )
        return _written(answer, len(content), hashlib.md5(content, usedforsecurity=False).digest())

    def _begin(self, key: str, *, create: bool) -> Parts:
        return _Blocks(self, key, create)

    def _copy_if(self, key: str, to: str, meta: ObjectMeta, *, conditional: bool) -> None:
        from azure.core import MatchConditions

        condition = {"source_etag": f'"{meta.etag}"', "source_match_condition": MatchConditions.IfNotModified}

        async def copied() -> None:
            copy = self.blob(to)
            answer = await copy.start_copy_from_url(
                self.blob(key).url, **(condition if conditional else {}), **_ONCE
            )
            status = answer["copy_status"]
            while status == "pending":
                await asyncio.sleep(COPY_POLL_SECONDS)
                status = (await copy.get_blob_properties(**_ONCE)).copy.status
            if status != "success":
                raise OSError(f"the copy to {to} ended as {status}")

        self.sync(copied)

    def _delete_if(self, key: str, meta: ObjectMeta, *, conditional: bool) -> None:
        condition = _if_is(meta) if conditional else {}
        self.sync(lambda: self.blob(key).delete_blob(**condition, **_ONCE))


class _Blocks:
    """An object whose blocks nobody sees before they are committed; those that never are expire in a week."""

    def __init__(self, store: AzureStore, key: str, create: bool) -> None:
        self._store, self._key, self._only_new = store, key, create
        self._name = secrets.token_hex(8)  # two writers of one object must not share blocks
        self._ids: list[str] = []
        self._size, self._digest = 0, hashlib.md5(usedforsecurity=False)

    def send(self, part: bytes) -> None:
        number = f"{self._name}{len(self._ids):06}"
        self._store.sync(lambda: self._store.blob(self._key).stage_block(number, part, len(part), **_ONCE))
        self._ids.append(number)
        self._size += len(part)
        self._digest.update(part)

    def complete(self, last: bytes) -> ObjectMeta:
        from azure.core import MatchConditions
        from azure.storage.blob import BlobBlock, ContentSettings

        if last:
            self.send(last)
        condition = {"match_condition": MatchConditions.IfMissing} if self._only_new else {}
        settings = ContentSettings(content_md5=bytearray(self._digest.digest()))
        answer = self._store.sync(
            lambda: self._store.blob(self._key).commit_block_list(
                [BlobBlock(one) for one in self._ids], content_settings=settings, **condition, **_ONCE
            )
        )
        return _written(answer, self._size, self._digest.digest())

    def abort(self) -> None:
        """Leave the blocks to expire: Azure has no request that removes them."""


def _if_is(meta: ObjectMeta) -> dict[str, Any]:
    from azure.core import MatchConditions

    return {"etag": f'"{meta.etag}"', "match_condition": MatchConditions.IfNotModified}


def _is_object(one: Any) -> bool:
    """Whether an entry of a listing is an object: accounts with folders list those too."""
    return hasattr(one, "size") and (one.metadata or {}).get("hdi_isfolder") != "true"


def _meta(one: Any) -> ObjectMeta:
    modified = one.last_modified.timestamp() if one.last_modified else 0.0
    md5 = md5_of_base64(one.content_settings.content_md5)
    return ObjectMeta(one.size, modified, md5, str(one.etag or "").strip('"'))


def _written(answer: Any, size: int, digest: bytes) -> ObjectMeta:
    """What listings will say of what was just written. Its time is not known: no date is later."""
    return ObjectMeta(size, math.inf, digest.hex(), str(answer["etag"]).strip('"'))
