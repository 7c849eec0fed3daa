"""A writer of the IAB's consent strings, bit by bit, independent of the code that reads them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
VENDOR = 755


def characters(bits: str, *, multiple: int = 6) -> str:
    """Return bits as characters, padded with zeros to a multiple of `multiple` bits."""
    filled = bits + "0" * (-len(bits) % multiple)
    return "".join(_ALPHABET[int(filled[place : place + 6], 2)] for place in range(0, len(filled), 6))


def bits_of(text: str) -> str:
    """Return the bits of characters."""
    return "".join(format(_ALPHABET.index(character), "06b") for character in text)


def number(value: int, bits: int) -> str:
    return format(value, f"0{bits}b")


def letters(text: str) -> str:
    return "".join(number(ord(letter) - ord("A"), 6) for letter in text)


def chosen(ids: Collection[int], count: int) -> str:
    return "".join("01"[id_ in ids] for id_ in range(1, count + 1))


def _groups(vendors: Collection[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for vendor in sorted(vendors):
        if found and found[-1][1] == vendor - 1:
            found[-1][1] = vendor
        else:
            found.append([vendor, vendor])
    return found


def ranges(vendors: Collection[int]) -> str:
    entries = [
        "0" + number(first, 16) if first == last else "1" + number(first, 16) + number(last, 16)
        for first, last in _groups(vendors)
    ]
    return number(len(entries), 12) + "".join(entries)


def vendors_of(vendors: Collection[int], *, as_ranges: bool) -> str:
    highest = max(vendors, default=0)
    head = number(highest, 16)
    return head + "1" + ranges(vendors) if as_ranges else head + "0" + chosen(vendors, highest)


def core(
    *,
    version: int = 2,
    language: str = "EN",
    policy: int = 5,
    service_specific: bool = True,
    consented: Collection[int] = (),
    established: Collection[int] = (),
    country: str = "DE",
    vendors: Collection[int] = (VENDOR,),
    interested: Collection[int] = (),
    as_ranges: bool = False,
    restrictions: Sequence[tuple[int, int, Collection[int]]] = (),
    created: int = 17_800_000_000,
    updated: int | None = None,
) -> str:
    """Return a core segment's bits; a restriction is a purpose, a kind and vendors; times are tenths of seconds."""
    return "".join(
        [
            number(version, 6),
            number(created, 36),
            number(created if updated is None else updated, 36),
            number(31, 12) + number(2, 12) + number(1, 6),
            letters(language),
            number(120, 12),
            number(policy, 6),
            "01"[service_specific],
            "0" + "0" * 12,
            chosen(consented, 24),
            chosen(established, 24),
            "0",
            letters(country),
            vendors_of(vendors, as_ranges=as_ranges),
            vendors_of(interested, as_ranges=as_ranges),
            number(len(restrictions), 12),
            *(number(purpose, 6) + number(kind, 2) + ranges(limited) for purpose, kind, limited in restrictions),
        ]
    )


def disclosed(vendors: Collection[int] = (VENDOR,), *, kind: int = 1, as_ranges: bool = True) -> str:
    return number(kind, 3) + vendors_of(vendors, as_ranges=as_ranges)


def publisher(*, custom: int = 2) -> str:
    return number(3, 3) + "0" * 48 + number(custom, 6) + "1" * (2 * custom)


def tcf(core_bits: str, *segments: str, multiple: int = 6) -> str:
    return ".".join(characters(bits, multiple=multiple) for bits in (core_bits, *segments))


def fibonacci(value: int) -> str:
    numbers = [1, 2]
    while numbers[-1] <= value:
        numbers.append(numbers[-1] + numbers[-2])
    places = []
    for place in reversed(range(len(numbers))):
        if numbers[place] <= value:
            value -= numbers[place]
            places.append(place)
    return "".join("01"[place in places] for place in range(max(places) + 1)) + "1"


def gpp(sections: Mapping[int, str], *, version: int = 1, kind: int = 3) -> str:
    """Return a string with these sections, each listed separately."""
    header, last = number(kind, 6) + number(version, 6) + number(len(sections), 12), 0
    for id_ in sorted(sections):
        header += "0" + fibonacci(id_ - last)
        last = id_
    return "~".join([characters(header), *(sections[id_] for id_ in sorted(sections))])


def section_header(id_: int, *, version: int = 1, listed: str) -> str:
    """Return the header of a section: its id, its version, and the list of its subsections as bits."""
    return number(id_, 6) + number(version, 6) + listed


# A list of subsections: the core's id 0 is written as the final 1 of Fibonacci coding, without anything before it.
CORE_ALONE = number(1, 12) + "0" + "1"
CORE_AND_ONE = number(2, 12) + "0" + "1" + "0" + "11"
CORE_TO_ONE = number(1, 12) + "1" + "1" + "11"


def fibonacci_range(ids: Collection[int]) -> str:
    entries, last = [], 0
    for first, end in _groups(ids):
        entries.append("0" + fibonacci(first - last) if first == end else _group(first - last, end - first))
        last = end
    return number(len(entries), 12) + "".join(entries)


def _group(offset: int, length: int) -> str:
    return "1" + fibonacci(offset) + fibonacci(length)


def optimized_range(ids: Collection[int], *, as_ranges: bool) -> str:
    """Return an `OptimizedRange` by the specification: a bit, then ranges, or a length and a bit field."""
    highest = max(ids, default=0)
    return "1" + fibonacci_range(ids) if as_ranges else "0" + number(highest, 16) + chosen(ids, highest)


def optimized_range_of_library(ids: Collection[int], *, as_ranges: bool) -> str:
    """Return an `OptimizedRange` as the IAB's libraries write it: the highest number comes first."""
    highest = max(ids, default=0)
    head = number(highest, 16)
    return head + "1" + fibonacci_range(ids) if as_ranges else head + "0" + chosen(ids, highest)


def canadian_core(
    *,
    version: int = 1,
    language: str = "EN",
    express: Collection[int] = (),
    implied: Collection[int] = (),
    vendors: Collection[int] = (VENDOR,),
    implied_vendors: Collection[int] = (),
    restrictions: Sequence[tuple[int, int, Collection[int]]] = (),
    as_ranges: bool = False,
    write: Callable[..., str] = optimized_range,
) -> str:
    """Return the bits of a core segment of Canada's framework."""
    return "".join(
        [
            number(version, 6),
            number(17_800_000_000, 36) * 2,
            number(31, 12) + number(2, 12) + number(1, 6),
            letters(language),
            number(120, 12) + number(2, 6),
            "0" + "0" * 12,
            chosen(express, 24),
            chosen(implied, 24),
            write(vendors, as_ranges=as_ranges),
            write(implied_vendors, as_ranges=as_ranges),
            number(len(restrictions), 12),
            *(
                number(purpose, 6) + number(kind, 2) + write(limited, as_ranges=as_ranges)
                for purpose, kind, limited in restrictions
            ),
        ]
    )
