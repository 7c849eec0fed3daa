"""The tests that `make test` leaves to `make test-long`: they are marked `long`.

`@pytest.mark.long` marks a test that takes long and shows a promise at one more place, or in a whole program.
`@pytest.mark.diagonal("place")` thins out a product of cases and places: `make test` runs each case at one of its
places, and the places take turns; all others are marked `long`. With `first="sqlite"` the turns begin there, so that a
test with a single case runs at a place that answers quickly.
`@pytest.mark.samples(3)` keeps three of a test's cases, the first, the last and one between; the others are `long`.
The choices depend only on names and positions, so each run of `make test` is the same. Tests of a marked module that
have no such parameter always run.
"""

from __future__ import annotations

import zlib
from collections import defaultdict

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is not on the diagonal, before pytest selects by markers."""
    _keep_samples(items)
    products: dict[str, dict[str, list[pytest.Item]]] = defaultdict(lambda: defaultdict(list))
    begins: dict[str, tuple[str, str]] = {}
    for item in items:
        for marker in item.iter_markers("diagonal"):
            (place,), test = marker.args, item.nodeid.partition("[")[0]
            products[test][_case(item, place)].append(item)
            if "first" in marker.kwargs:
                begins[test] = place, marker.kwargs["first"]
    for test, cases in products.items():
        # Tests with few cases begin at different places.
        start = _begin(next(iter(cases.values())), *begins[test]) if test in begins else zlib.crc32(test.encode())
        for position, case in enumerate(cases.values()):
            chosen = case[(start + position) % len(case)]
            for item in case:
                if item is not chosen:
                    item.add_marker(pytest.mark.long)


def _keep_samples(items: list[pytest.Item]) -> None:
    tests: dict[tuple[str, int], list[pytest.Item]] = defaultdict(list)
    for item in items:
        for marker in item.iter_markers("samples"):
            tests[item.nodeid.partition("[")[0], *marker.args].append(item)
    for (_, count), cases in tests.items():
        kept = {position * (len(cases) - 1) // max(1, count - 1) for position in range(count)}
        for position, item in enumerate(cases):
            if position not in kept:
                item.add_marker(pytest.mark.long)


def _begin(case: list[pytest.Item], place: str, first: str) -> int:
    """Return the number of the item that runs at the first place."""
    return [str(item.callspec.params[place]) for item in case if isinstance(item, pytest.Function)].index(first)


def _case(item: pytest.Item, place: str) -> str:
    """Return what tells the cases of a test apart: its parameters without the place."""
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return repr([(name, str(value)) for name, value in params.items() if name != place])
