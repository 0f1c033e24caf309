"""A folder on a server that is reached by SFTP, through sshfs. Plain Python: no Airflow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from threading import Lock
from typing import Any

from airflow_provider_cca.store.any_filesystem import FsspecStore
from airflow_provider_cca.store.object_store import NONE, Capabilities
from airflow_provider_cca.store.refusals import codes_of

_REFUSED = {"SFTPFailure", "SFTPFileAlreadyExists"}
"""What a rename is answered with whose new name is taken: the protocol has no code of its own for it."""


class SftpStore(FsspecStore):
    """A folder on an SFTP server.

    A file is replaced by OpenSSH's own rename, which other servers know too; where one does not, it is
    missing for a moment. The protocol's plain rename refuses a name that is taken at OpenSSH, not everywhere.
    """

    def __init__(self, fs: Any, root: str) -> None:
        self._fs, self._opening = fs, Lock()
        super().__init__(fs, root)

    @property
    def fs(self) -> Any:
        """The filesystem, connected anew when its connection was lost: sshfs would go on failing."""
        with self._opening:
            if self._fs.client.is_closed():
                options = {**self._fs.storage_options, "skip_instance_cache": True}
                self._fs = type(self._fs)(*self._fs.storage_args, **options)
            return self._fs

    @fs.setter
    def fs(self, fs: Any) -> None:
        self._fs = fs

    open_options: Mapping[str, Any] = {}  # sshfs sends blocks of its size, and OpenSSH takes 256 KiB at most

    def rename(self, temporary: str, key: str) -> None:
        to = self.path(key)
        try:
            self._call(lambda channel: channel.posix_rename(temporary, to))
        except Exception as error:
            if "SFTPOpUnsupported" not in codes_of(error):
                raise
            # The filesystem's own `mv` would copy by a shell command here, which shows half files.
            if not self._renamed(temporary, to):
                self._call(lambda channel: channel.remove(to))
                self._call(lambda channel: channel.rename(temporary, to))

    def rename_new(self, temporary: str, key: str) -> None:
        if not self.capabilities().create:
            super().rename_new(temporary, key)
        elif not self._renamed(temporary, self.path(key)):
            self._must_not_exist(key)
            raise OSError(f"the server refused to rename {temporary}")

    def _renamed(self, path: str, to: str) -> bool:
        """Rename by the protocol's own request; False when the server says that it failed."""
        try:
            self._call(lambda channel: channel.rename(path, to))
        except Exception as error:
            if codes_of(error) & _REFUSED:
                return False
            raise
        return True

    def _ask(self) -> Capabilities:
        with self.writing(".capabilities", 0) as one, self.writing(".capabilities", 0) as other:
            refused = not self._renamed(one.complete(), other.complete())  # type: ignore[attr-defined]
        return NONE._replace(create=refused, create_in_parts=refused)

    def _call(self, call: Callable[[Any], Awaitable[object]]) -> None:
        from fsspec.asyn import sync

        async def called() -> None:
            async with self.fs._pool.get() as channel:
                await call(channel)

        sync(self.fs.loop, called)
