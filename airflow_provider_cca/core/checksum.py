"""Verify the bytes of a file against its listing, as they go by. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import closing
from typing import IO

from airflow_provider_cca.core.files import RemoteFile
from airflow_provider_cca.errors import (
    WrongChecksum,
    WrongSize,
)


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


def md5_of(file: IO[bytes]) -> str:
    """Return the MD5 of what is left of an open file, as 32 hex digits."""
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(1024 * 1024):
        digest.update(chunk)
    return digest.hexdigest()
