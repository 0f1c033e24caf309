"""Verify the bytes of a file against its listing, as they go by. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable
from contextlib import closing

from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.errors import WrongChecksum, WrongSize


def verified(chunks: Generator[bytes], file: RemoteFile) -> Generator[bytes]:
    """The same chunks; raises WrongSize or WrongChecksum unless they are the file that was listed.

    Too long a body is refused at its first byte too many, and its connection is given back at once.
    """
    digest, received = hashlib.md5(usedforsecurity=False), 0
    what = file.name or file.id
    with closing(chunks):
        for chunk in chunks:
            received += len(chunk)
            if received > file.size:
                break
            digest.update(chunk)
            yield chunk
    if received != file.size:
        raise WrongSize(
            f"{what} is listed with {file.size} bytes but came with "
            f"{'more' if received > file.size else received}: nothing of it was stored",
            expected=file.size,
            received=received,
        )
    if digest.hexdigest() != file.md5:
        raise WrongChecksum(
            f"{what} is listed with MD5 {file.md5} but came with {digest.hexdigest()}: "
            "nothing of it was stored",
            expected=file.md5,
            received=digest.hexdigest(),
        )


def md5_and_size(
    chunks: Iterable[bytes], write: Callable[[bytes], object] = lambda chunk: None
) -> tuple[str, int]:
    """Give each chunk to `write`, and return the MD5 of all as 32 hex digits, and their bytes."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    for chunk in chunks:
        write(chunk)
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size
