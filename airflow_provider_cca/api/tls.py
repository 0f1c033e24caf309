"""Whose certificates are trusted, and one TLS context of them for all connections. No Airflow."""

from __future__ import annotations

import os
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util.ssl_ import create_urllib3_context

from airflow_provider_cca.core.printable import printable
from airflow_provider_cca.errors import InvalidConnection


@dataclass
class Trust:
    """The certificates that vouch for servers and proxies.

    :param verify: The path of a bundle or of a folder of certificates; True for those that requests brings;
        False to trust everybody.
    :param setting: Where that was said, for errors.
    """

    verify: bool | str = True
    setting: str = "requests"
    _context: ssl.SSLContext | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, verify: bool | str) -> Trust:
        """What a connection says, else the environment; raises InvalidConnection for what is no bundle."""
        trust = cls(verify, '"verify" in the connection\'s extra')
        if verify is True:
            named = (name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(name))
            trust = next((cls(os.environ[n], f"{n} in the environment of this worker") for n in named), cls())
        trust._check()
        return trust

    @property
    def path(self) -> str:
        return DEFAULT_CA_BUNDLE_PATH if self.verify is True else str(self.verify)

    def context(self) -> ssl.SSLContext | None:
        """With the certificates read once: else each connection would take up to 50 ms of CPU time for them.

        None to trust everybody. Raises InvalidConnection when a certificate is damaged.
        """
        with self._lock:
            if self.verify is not False and not self._context:
                self._context = self._read()
        return self._context

    def _check(self) -> None:
        """Before anything is sent, and without a look into each certificate."""
        if not isinstance(self.verify, str) or os.path.isdir(self.verify):  # noqa: PTH112 - never raises
            return
        if "-----BEGIN " in self.verify:
            raise InvalidConnection(
                f"{self.setting} holds a certificate itself: write it to a PEM file that is on every worker, "
                "and give the path of that"
            )
        try:
            content = Path(self.verify).read_bytes()
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        if b"-----BEGIN " not in content:
            raise self._without_certificate()

    def _read(self) -> ssl.SSLContext:
        context = create_urllib3_context()
        kind = "capath" if os.path.isdir(self.path) else "cafile"  # noqa: PTH112
        try:
            context.load_verify_locations(**{kind: self.path})
        except ssl.SSLError as error:
            raise self._without_certificate() from error
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        return context

    def _without_certificate(self) -> InvalidConnection:
        """Without it, each call would fail as if the host were to blame, and be tried again."""
        return InvalidConnection(
            f"{self.setting} names {printable(self.path)}, which holds no certificate in the form PEM; "
            "openssl x509 -inform der makes that of a .cer or .der"
        )

    def _unreadable(self, error: OSError | ValueError) -> InvalidConnection:
        why = getattr(error, "strerror", None) or error
        return InvalidConnection(
            f"{self.setting} names {printable(self.path)}, which cannot be read on this worker ({why}): give "
            "a CA bundle that can"
        )
