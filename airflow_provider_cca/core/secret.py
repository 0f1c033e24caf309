"""A value that no log, repr or error report shows. No I/O."""

from __future__ import annotations

from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")


class Secret(Generic[T]):
    """A password, a token, or what holds one: shown as `***`, read by `open()`.

    Error reporters such as Sentry send the local variables of each frame through which an error passes. So
    hand the secret on, and open it only in the expression that uses it: never keep what it holds in a local
    variable of a function that can raise.
    """

    __slots__ = ("__value",)

    def __init__(self, value: T) -> None:
        self.__value = value

    def open(self) -> T:
        return self.__value

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and bool(self.__value == other.open())

    def __hash__(self) -> int:
        return hash(self.__value)

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def secret_text(value: Secret[str] | str) -> Secret[str]:
    """Return a text as a secret; one that is a secret already as it is."""
    return value if isinstance(value, Secret) else Secret(value)
