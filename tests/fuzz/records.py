"""Fuzzes the readers of every text format: nothing raises, and nothing grants that lacks the documented yes.

    python tests/fuzz/records.py -runs=1000000

The corpus are the records of `cases/records` and the texts of `cases/consent_formats.json` that grant. A finding is an
exception; the arguments are libFuzzer's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["airflow_consent_retl"]):
    from airflow_consent_retl import consent
    from airflow_consent_retl.consent import CategorySignal, ConsentObjectKey, ConsentStatus, WholeConsent

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.records import FILES, compact, tables

TESTS = Path(__file__).resolve().parents[1]

# What every text that grants contains, by format.
_YES = {
    "OptanonConsent": ("groups", "1"),
    "GrantedIds": ("C0004",),
    "GoogleConsent": ("RANTED",),
}


def contains(words: tuple[str, ...], text: str) -> bool:
    """Return whether a text contains all words, in capital or small letters."""
    return all(word.upper() in text.upper() for word in words)


def readers() -> list[tuple[CategorySignal, Callable[[str], bool], tuple[str, ...]]]:
    """Return each reader, whether a text may grant, and texts that grant."""
    found: list[tuple[CategorySignal, Callable[[str], bool], tuple[str, ...]]] = []
    for file in FILES:
        for table in tables(file):
            signals = dict.fromkeys(signal for signal, raw, _ in table.rows if raw is not None)
            for signal in signals:
                granting = [raw for one, raw, status in table.rows if one == signal and raw and status == "granted"]
                found.append((signal, table.says_yes, tuple(granting)))
    for described in json.loads((TESTS / "cases" / "consent_formats.json").read_text()):
        if described["format"] not in _YES:
            continue
        declared = getattr(consent, described["format"])(**described["parameters"])
        one = declared.for_category("C0004", "Ads") if isinstance(declared, WholeConsent) else declared
        assert isinstance(one, CategorySignal)
        signal = one
        texts = [raw for raw, _ in described["values"] if isinstance(raw, str)]
        granting_texts = tuple(text for text in texts if signal.status(signal.token(text)) is ConsentStatus.GRANTED)
        found.append((signal, partial(contains, _YES[described["format"]]), granting_texts))
    key = ConsentObjectKey("x", ("categoryPreferences", "C0004"))
    found.append((key, lambda text: '"C0004":true' in compact(text), ('{"categoryPreferences":{"C0004":true}}',)))
    return found


READERS = readers()


def check(octets: bytes) -> None:
    """Read one text with every reader that its first byte names, plainly and where silence permits."""
    if not octets:
        return
    text = octets[1:].decode("utf-8", errors="surrogateescape")
    signal, may_grant, _ = READERS[octets[0] % len(READERS)]
    for one in (signal, signal.where_silence_permits()):
        if one.status(one.token(text)) is ConsentStatus.GRANTED:
            assert may_grant(text), type(signal).__name__


def seeds() -> list[bytes]:
    """Return texts that grant, each after the number of its reader."""
    return [bytes([place]) + text.encode() for place, (_, _, texts) in enumerate(READERS) for text in texts]


def main() -> None:
    """Fuzz, from a corpus of its own."""
    with TemporaryDirectory(prefix="consent-retl-fuzz-") as corpus:
        for place, octets in enumerate(seeds()):
            Path(corpus, str(place)).write_bytes(octets)
        atheris.Setup([*sys.argv, corpus], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
