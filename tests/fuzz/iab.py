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
    from airflow_consent_retl.consent import ConsentStatus, GppTcf, GppTcfCanada, GppUs, TcfString

import pyarrow as pa

from airflow_consent_retl.filtering.tc_strings import LEFT_TO_THE_LAW, answers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.iab_strings import (
    CORE_ALONE,
    CORE_AND_ONE,
    VENDOR,
    bits_of,
    canadian_core,
    characters,
    core,
    disclosed,
    gpp,
    optimized_range,
    optimized_range_of_library,
    publisher,
    section_header,
    tcf,
)

PURPOSES = (1, 3, 4)
TCF = TcfString("tc", purposes=PURPOSES, vendor=VENDOR, disclosed="if_present")
GPP_TCF = GppTcf("gpp", purposes=PURPOSES, vendor=VENDOR, disclosed="if_present")
NATIONAL = GppUs("gpp", section="usnat", opt_outs=("SaleOptOut", "SharingOptOut", "TargetedAdvertisingOptOut"))
BY_DATE = TcfString("tc", purposes=PURPOSES, vendor=VENDOR)
OLD = TcfString("tc", purposes=PURPOSES, vendor=VENDOR, oldest_policy=2)
STATES = {"usmd": 24, "usin": 25, "usky": 26, "usri": 27}
OF_STATES = [
    GppUs("gpp", section=name, opt_outs=("SaleOptOut", "TargetedAdvertisingOptOut"), encoding=encoding)
    for name in STATES
    for encoding in ("specification", "iab_library")
]
CANADIAN = [
    GppTcfCanada("gpp", purposes=(2, 3), vendor=VENDOR, encoding=encoding)
    for encoding in ("specification", "iab_library")
]
# 1 March 2026, in tenths of a second.
DISCLOSED_SINCE = 17_723_232_000
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"


def check(octets: bytes) -> None:
    """Read one string, and whatever grants again by hand."""
    text = "".join(_ALPHABET[octet % len(_ALPHABET)] for octet in octets)
    if TCF.read(text) is ConsentStatus.GRANTED:
        assert may_grant_tcf(text)
    if BY_DATE.read(text) is ConsentStatus.GRANTED:
        assert TCF.read(text) is ConsentStatus.GRANTED
        assert "." in text or is_before_the_rule(text)
    if OLD.read(text) is ConsentStatus.GRANTED:
        assert may_grant_tcf(text, interest="0" if int(bits_of(text.partition(".")[0])[132:138], 2) >= 4 else "01")
    for signal in (TCF, BY_DATE):
        # Many strings are read at once by another reader, which says what the law says, or nothing.
        assert signal.tc_question is not None
        (found,) = answers(pa.array([text]), signal.tc_question)
        assert found in (LEFT_TO_THE_LAW, signal.token(text))
    check_sections(text)
    check_reasons(text)


def check_sections(text: str) -> None:
    """Read each section that is known, and whatever grants again by hand."""
    sections = text.split("~")[1:]
    for state in OF_STATES:
        if state.read(text) is ConsentStatus.GRANTED:
            assert any(may_grant_state(section, state) for section in sections)
    for canadian in CANADIAN:
        if canadian.read(text) is ConsentStatus.GRANTED:
            assert any(map(may_grant_canadian, sections))
    if GPP_TCF.read(text) is ConsentStatus.GRANTED:
        assert any(map(may_grant_tcf, sections))
    if NATIONAL.read(text) is ConsentStatus.GRANTED:
        assert any(map(may_grant_national, sections))


def check_reasons(text: str) -> None:
    """Nothing is invalid without a reason, and a reason contains nothing of the string."""
    for signal in (TCF, OF_STATES[0], CANADIAN[0]):
        reason = signal.why_invalid(text)
        assert (signal.read(text) is ConsentStatus.INVALID) == (reason is not None)
        assert len(text) < 20 or text not in (reason or "")


def is_before_the_rule(text: str) -> bool:
    """Return whether both times of a string are before TCF 2.3 applied."""
    bits = bits_of(text)
    return max(int(bits[6:42], 2), int(bits[42:78], 2)) < DISCLOSED_SINCE


def may_grant_state(text: str, state: GppUs) -> bool:
    """Return whether the section is this state's, and nobody opted out of anything."""
    segments = text.split(".")
    if state.encoding == "specification":
        header = bits_of(segments.pop(0))
        if int(header[:6], 2) != STATES[state.section]:
            return False
    core, *others = (bits_of(segment) for segment in segments)
    has_gpc = state.section == "usmd" and bool(others) and others[0][2] == "1"
    return core[16:20] == "1010" and not has_gpc


def may_grant_canadian(text: str) -> bool:
    """Return whether there is express consent to the purposes, in a section of version 1 that is not cut off."""
    bits = bits_of(text.partition(".")[0])
    return len(bits) >= 199 + 17 + 17 + 12 and bits[:6] == "000001" and bits[152:154] == "11"


def may_grant_tcf(text: str, *, interest: str = "0") -> bool:
    """Return whether all grants among the fields that have a fixed place, and no letter stands for other bits.

    `interest` lists the values that the bits of legitimate interest for purposes 3 to 6 may have.
    """
    core = text.split(".", maxsplit=1)[0]
    if not core.replace("-", "").replace("_", "").isalnum():
        return False
    bits = bits_of(core)
    return (
        len(bits) >= 213 + 17 + 17 + 12
        and bits[:6] == "000010"
        and bits[138] == "1"
        and all(bits[151 + purpose] == "1" for purpose in PURPOSES)
        and bits[176] == "0"
        and set(bits[178:182]) <= set(interest)
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
    strings += [
        tcf(core(consented=PURPOSES, vendors=vendors, created=DISCLOSED_SINCE - 1), publisher()),
        tcf(core(consented=PURPOSES, vendors=vendors, established=(3,), policy=2), disclosed(vendors)),
    ]
    for section, id_ in STATES.items():
        # Maryland has no field for children, and its subsection is Global Privacy Control.
        state = characters("000001" + "01" * 5 + "1010" + ("10" if section == "usmd" else "0110"))
        subsection = ".Q" if section == "usmd" else ".qqo"
        for listed, more in ((CORE_ALONE, ""), (CORE_AND_ONE, subsection)):
            header = characters(section_header(id_, listed=listed))
            strings += [gpp({id_: f"{header}.{state}{more}"}), gpp({id_: f"{state}{more}"})]
    strings += [
        gpp({5: tcf(canadian_core(express=(2, 3), as_ranges=as_ranges, write=write), publisher())})
        for as_ranges in (False, True)
        for write in (optimized_range, optimized_range_of_library)
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
