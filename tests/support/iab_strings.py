"""A writer of the IAB's consent strings, bit by bit, independent of the code that reads them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

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


def ranges(vendors: Collection[int]) -> str:
    found: list[list[int]] = []
    for vendor in sorted(vendors):
        if found and found[-1][1] == vendor - 1:
            found[-1][1] = vendor
        else:
            found.append([vendor, vendor])
    entries = [
        "0" + number(first, 16) if first == last else "1" + number(first, 16) + number(last, 16)
        for first, last in found
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
) -> str:
    """Return the bits of a core segment; a restriction is a purpose, a kind and vendors."""
    written_at = number(17_800_000_000, 36)
    return "".join(
        [
            number(version, 6),
            written_at,
            written_at,
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
