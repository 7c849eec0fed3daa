"""Fuzzes the readers of the IAB's strings: nothing raises, and nothing grants that is not, bit by bit, what grants.

    python tests/fuzz/iab.py -runs=1000000

A finding is an exception; the arguments are libFuzzer's.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["airflow_consent_retl"]):
    from airflow_consent_retl.consent import ConsentStatus, GppTcf, GppUs, TcfString

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.iab_strings import VENDOR, bits_of, characters, core, disclosed, gpp, publisher, tcf

PURPOSES = (1, 3, 4)
TCF = TcfString("tc", purposes=PURPOSES, vendor=VENDOR, disclosed="if_present")
GPP_TCF = GppTcf("gpp", purposes=PURPOSES, vendor=VENDOR, disclosed="if_present")
NATIONAL = GppUs("gpp", section="usnat", opt_outs=("SaleOptOut", "SharingOptOut", "TargetedAdvertisingOptOut"))
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"


def check(octets: bytes) -> None:
    """Read one string, and whatever grants again by hand."""
    text = "".join(_ALPHABET[octet % len(_ALPHABET)] for octet in octets)
    sections = text.split("~")[1:]
    if TCF.read(text) is ConsentStatus.GRANTED:
        assert may_grant_tcf(text)
    if GPP_TCF.read(text) is ConsentStatus.GRANTED:
        assert any(map(may_grant_tcf, sections))
    if NATIONAL.read(text) is ConsentStatus.GRANTED:
        assert any(map(may_grant_national, sections))


def may_grant_tcf(text: str) -> bool:
    """Return whether all grants among the fields that have a fixed place, and no letter stands for other bits."""
    core = text.split(".", maxsplit=1)[0]
    if not core.replace("-", "").replace("_", "").isalnum():
        return False
    bits = bits_of(core)
    return (
        len(bits) >= 213 + 17 + 17 + 12
        and bits[:6] == "000010"
        and bits[138] == "1"
        and all(bits[151 + purpose] == "1" for purpose in PURPOSES)
        and "1" not in bits[176] + bits[178:182]
        and (bits[229] == "1" or bits[230 + VENDOR - 1] == "1")
        and characters(bits) == core
    )


def may_grant_national(text: str) -> bool:
    """Return whether nobody opted out of anything."""
    core, *gpc = (bits_of(segment) for segment in text.split("."))
    return len(core) >= 60 and core[18:24] == "101010" and (not gpc or gpc[0][:3] == "010")


def seeds() -> list[str]:
    """Return strings that grant, to start from."""
    vendors = {1, 2, VENDOR, VENDOR + 1}
    strings = [
        tcf(core(consented=PURPOSES, vendors=vendors, as_ranges=as_ranges), disclosed(vendors), publisher())
        for as_ranges in (False, True)
    ]
    return [*strings, gpp({2: strings[1]}), "DBABLA~BVVqqqqqqqA.QA", gpp({2: strings[1], 7: "CVVqqqqqqqqA.QA"})]


def main() -> None:
    """Fuzz, from a corpus of its own."""
    with TemporaryDirectory(prefix="consent-retl-fuzz-") as corpus:
        for place, text in enumerate(seeds()):
            Path(corpus, str(place)).write_bytes(bytes(map(_ALPHABET.index, text)))
        atheris.Setup([*sys.argv, corpus], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
