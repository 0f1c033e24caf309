"""A bounded memory of what was made lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by key; the least recently used go when the weights exceed `budget`."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.weight = 0
        self._items: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = Lock()  # listings are made in threads, downloads on the event loop

    def get(self, key: Hashable) -> Value | None:
        with self._lock:
            found = self._items.get(key)
            if found is None:
                return None
            self._items.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: Value, weight: int = 1) -> Value:
        with self._lock:
            _, before = self._items.pop(key, (None, 0))
            self._items[key] = (value, weight)
            self.weight += weight - before
            while self.weight > self.budget and len(self._items) > 1:
                _, (_, gone) = self._items.popitem(last=False)
                self.weight -= gone
        return value
