"""Tests of filter runs: every row goes to exactly the destinations that may receive it, in any layout of the rows."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.permitting import (
    AT,
    CONSENT,
    DESTINATIONS,
    KEY,
    POLICY,
    Filtered,
    customers,
    filter_rows,
    filtered_customers,
    plan_for,
    snapshot_in_parts,
    snapshot_of,
)

from airflow_consent_retl.consent import (
    BooleanColumn,
    CategoryId,
    CategorySignal,
    ConsentObjectKey,
    ConsentPolicy,
    Denied,
    Literals,
    Permitted,
    SubjectStatus,
    decide,
    parse_policy,
)
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.filtering.files import SnapshotFilter
from airflow_consent_retl.storage.decision_log import SubjectKey, find_decisions
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.values.keys import find_duplicate_ids

Row = dict[str, Any]

SIGNALS: dict[str, CategorySignal] = {
    "C0001": BooleanColumn("flag"),
    "C0002": Literals("word", granted=("yes", "ja"), denied=("no",)),
    "C0003": Literals("number", granted=(1,), denied=(0,)),
    "C0004": ConsentObjectKey("prefs", ("p", "C0004")),
}
NAMES = ("ads", "crm", "lake", "lake:eu", "webhook")
SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("id", pa.string()),
        ("flag", pa.bool_()),
        ("word", pa.string()),
        ("number", pa.int64()),
        ("prefs", pa.string()),
    ]
)
PREFS = ('{"p":{"C0004":true}}', '{"p":{"C0004":false}}', '{"p":{"C0004":"true"}}', '{"p":{}}', '{"p":{"C0004":true},}')


@st.composite
def models(draw: st.DrawFn) -> list[Row]:
    rows = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "id": st.sampled_from([None, *(f"user-{number}" for number in range(30))]),
                    "flag": st.sampled_from([True, False, None]),
                    "word": st.sampled_from(["yes", "ja", "no", "Yes", "", None]),
                    "number": st.sampled_from([1, 0, 2, None]),
                    "prefs": st.sampled_from([*PREFS, None]),
                }
            ),
            max_size=25,
        )
    )
    return [{"row": number, **row} for number, row in enumerate(rows)]


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    mapped = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)
    categories: list[dict[str, Any]] = [
        {"id": category, "name": category, "destinations": draw(mapped), "enabled": draw(st.booleans())}
        for category in SIGNALS
    ]
    any_of = draw(st.lists(st.sampled_from(NAMES), unique=True))
    if "lake" in any_of and "lake:eu" not in any_of:
        any_of.append("lake:eu")
    return {
        "unmapped_destinations": draw(st.sampled_from(["permit", "deny"])),
        "missing_consent_column": "deny",
        "categories": categories,
        # A destination without a category of its own has nothing to choose from, and would be refused.
        "destinations": {
            name: {"match": "any"}
            for name in any_of
            if any(name in category["destinations"] for category in categories)
        },
    }


def oracle(
    rows: Sequence[Row], policy: ConsentPolicy, mapping: Mapping[str, CategorySignal], destinations: Sequence[str]
) -> list[tuple[str, ...]]:
    """Decide each row for each destination with `decide`, one at a time."""
    occurrences = Counter(row["id"] for row in rows)
    answers = []
    for row in rows:
        subject = SubjectStatus.IDENTIFIED
        if row["id"] is None:
            subject = SubjectStatus.MISSING_ID
        elif occurrences[row["id"]] > 1:
            subject = SubjectStatus.DUPLICATE_ID
        consent = {
            CategoryId(category): signal.status(signal.token(row[signal.column]))
            for category, signal in mapping.items()
        }
        answers.append(
            tuple(
                name
                for name in sorted(destinations)
                if isinstance(decide(policy, name, consent, subject=subject, at=AT), Permitted)
            )
        )
    return answers


def duplicates_in(rows: pa.Table) -> pa.Array | None:
    found, _ = find_duplicate_ids(lambda: rows.select(["id"]).to_batches())
    return found if len(found) else None


def by_recipients(rows: Sequence[Row], recipients: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row, names in zip(rows, recipients, strict=True):
        if names:
            groups.setdefault(names, []).append(row)
    return groups


@settings(max_examples=30, deadline=None)
@given(
    rows=models(),
    policy=policies(),
    mapped=st.lists(st.sampled_from(sorted(SIGNALS)), min_size=1, unique=True),
    destinations=st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
    part_rows=st.integers(1, 30),
)
def test_every_row_goes_once_to_exactly_the_recipients_that_decide_permits(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[Row],
    policy: dict[str, Any],
    mapped: list[str],
    destinations: list[str],
    part_rows: int,
) -> None:
    assume(not any(parse_policy(policy).misspelt(name) for name in destinations))
    folder = Folder.local(tmp_path_factory.mktemp("model"))
    model = pa.Table.from_pylist(rows, schema=SCHEMA)
    mapping = {category: SIGNALS[category] for category in mapped}
    snapshot = snapshot_in_parts(folder / "snapshot", model, part_rows=part_rows)
    plan = plan_for(snapshot, policy, consent=mapping, destinations=destinations)

    run = filter_rows(folder / "snapshot", snapshot, plan, folder / "permitted", duplicates=duplicates_in(model))

    recipients = oracle(rows, plan.policy, mapping, destinations)
    assert run.groups() == by_recipients(rows, recipients)
    assert run.manifest.rows_read == len(rows)
    assert run.manifest.rows_for_nobody == len([names for names in recipients if not names])
    assert {group.recipients: group.rows for group in run.manifest.groups} == {
        names: len(group) for names, group in by_recipients(rows, recipients).items()
    }
    for name, counts in run.manifest.destinations.items():
        assert counts.permitted == len([names for names in recipients if name in names])
        assert counts.read == counts.permitted + counts.denied == len(rows)
    assert run.manifest.decision_log.rows == len([names for names in recipients if len(names) < len(destinations)])


def random_rows(count: int, *, seed: int) -> list[Row]:
    generator = random.Random(seed)  # noqa: S311 - the same rows in every run
    return [
        {
            "row": number,
            "id": generator.choice([None, f"user-{generator.randrange(count * 3)}", f"only-{number}"]),
            "flag": generator.choice([True, False, None]),
            "word": generator.choice(["yes", "ja", "no", "Yes", "", None]),
            "number": generator.choice([1, 0, 2, None]),
            "prefs": generator.choice([*PREFS, None]),
        }
        for number in range(count)
    ]


EACH_CATEGORY = {
    "missing_consent_column": "deny",
    "categories": [
        {"id": category, "name": category, "destinations": [name]}
        for category, name in zip(SIGNALS, ("ads", "crm", "lake", "webhook"), strict=True)
    ],
}
FOUR = ["ads", "crm", "lake", "webhook"]


def filter_model(tmp_path: Path, rows: Sequence[Row], *, part_rows: int = 700) -> Filtered:
    model = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    source = Folder.local(tmp_path / "snapshot")
    snapshot = snapshot_in_parts(source, model, part_rows=part_rows)
    plan = plan_for(snapshot, EACH_CATEGORY, consent=SIGNALS, destinations=FOUR)
    return filter_rows(source, snapshot, plan, Folder.local(tmp_path / "out"), duplicates=duplicates_in(model))


def test_shuffled_rows_have_the_same_recipients(tmp_path: Path) -> None:
    rows = random_rows(3_000, seed=1)
    shuffled = random.Random(2).sample(rows, len(rows))  # noqa: S311

    first, second = filter_model(tmp_path / "1", rows), filter_model(tmp_path / "2", shuffled, part_rows=411)

    for recipients, group in first.groups().items():
        assert sorted(group, key=lambda row: int(row["row"])) == sorted(
            second.groups()[recipients], key=lambda row: int(row["row"])
        )
    assert first.counts == second.counts
    assert len(first.manifest.groups) == 15


def test_the_same_snapshot_always_results_in_the_same_bytes(tmp_path: Path) -> None:
    rows = random_rows(3_000, seed=3)

    first, second = filter_model(tmp_path / "1", rows), filter_model(tmp_path / "2", rows)

    assert first.manifest == second.manifest
    assert first.sha256 == second.sha256


def test_doubled_rows_are_denied_everywhere(tmp_path: Path) -> None:
    rows = [row for row in random_rows(200, seed=4) if row["id"]]

    run = filter_model(tmp_path, [*rows, *rows])

    assert run.groups() == {}
    assert run.manifest.rows_for_nobody == 2 * len(rows)
    assert run.manifest.destinations["ads"].denied_by_reason["duplicate_id"] == 2 * len(rows)


def test_ids_that_are_all_missing_are_denied_everywhere(tmp_path: Path) -> None:
    source = Folder.local(tmp_path / "snapshot")
    snapshot, _ = snapshot_of(source, customers().set_column(0, "id", pa.nulls(5)))
    plan = plan_for(snapshot, POLICY, consent=CONSENT, destinations=DESTINATIONS)

    run = filter_rows(source, snapshot, plan, Folder.local(tmp_path / "out"))

    assert run.groups() == {}
    assert run.manifest.destinations["ads"].denied_by_reason["missing_id"] == 5


def test_ids_that_an_extraction_checked_are_not_checked_again(tmp_path: Path) -> None:
    source = Folder.local(tmp_path / "snapshot")
    snapshot, _ = snapshot_of(source, customers(), checked=True)
    plan = plan_for(snapshot, POLICY, consent=CONSENT, destinations=DESTINATIONS)

    run = filter_rows(source, snapshot, plan, Folder.local(tmp_path / "out"))

    assert {name: counts.permitted for name, counts in run.manifest.destinations.items()} == {
        "ads": 2,
        "lake": 2,
        "webhook": 1,
    }


def test_destinations_that_need_no_consent_receive_a_model_without_consent_columns(tmp_path: Path) -> None:
    source = Folder.local(tmp_path / "snapshot")
    snapshot, _ = snapshot_of(source, pa.table({"id": [1, 2], "name": ["a", None]}), checked=True)
    plan = plan_for(snapshot, POLICY, consent=CONSENT, destinations=["printer", "archive"])

    run = filter_rows(source, snapshot, plan, Folder.local(tmp_path / "out"))

    assert run.groups() == {("archive", "printer"): [{"id": 1, "name": "a"}, {"id": 2, "name": None}]}


def test_a_consent_column_that_is_the_primary_key_too_is_read_once(tmp_path: Path) -> None:
    source = Folder.local(tmp_path / "snapshot")
    snapshot, _ = snapshot_of(source, pa.table({"id": ["yes", "no", None]}))
    mapping = {"C0002": Literals("id", granted=("yes",)), "C0004": Literals("id", granted=("no",))}
    plan = plan_for(snapshot, POLICY, consent=mapping, destinations=DESTINATIONS)

    run = filter_rows(source, snapshot, plan, Folder.local(tmp_path / "out"))

    assert run.groups() == {("ads",): [{"id": "no"}], ("lake",): [{"id": "yes"}]}


def test_an_empty_snapshot_is_a_permitted_set_of_no_rows(tmp_path: Path) -> None:
    run = filtered_customers(tmp_path, customers().slice(0, 0))

    assert run.manifest.groups == ()
    assert run.manifest.rows_read == run.manifest.decision_log.rows == 0
    assert {name: counts.permitted for name, counts in run.manifest.destinations.items()} == {
        "ads": 0,
        "lake": 0,
        "webhook": 0,
    }


def test_columns_of_every_type_come_through_unchanged(tmp_path: Path) -> None:
    rows = customers().append_column("nothing", pa.nulls(5))
    for name, type_, value in (
        ("big", pa.int64(), 2**63 - 1),
        ("decimal", pa.decimal128(38, 9), "12345678901234567890123456789.123456789"),
        ("instant", pa.timestamp("us", tz="UTC"), AT),
        ("naive", pa.timestamp("ns"), AT.replace(tzinfo=None)),
        ("day", pa.date32(), AT.date()),
        ("clock", pa.time64("us"), AT.time()),
        ("bytes", pa.binary(), b"\x00\xff"),
        ("float", pa.float64(), float("inf")),
        ("text", pa.large_string(), "e\u0301\x00😀"),
    ):
        first = pa.array([value]).cast(type_) if isinstance(value, str) else pa.array([value], type_)
        rows = rows.append_column(name, pa.concat_arrays([first, pa.nulls(4, type_)]))

    run = filtered_customers(tmp_path, rows)

    group = next(group for group in run.manifest.groups if group.recipients == ("ads", "lake", "webhook"))
    written = pa.Table.from_batches(run.folder.read_rows(group.parts, batch_rows=10))
    assert written.schema.equals(rows.schema)
    assert written.equals(rows.slice(0, 1))


# The snapshot's files


def filtering(tmp_path: Path, replaced: pa.Table) -> Filtered:
    """Replace the snapshot's file between the two passes of a filter run."""
    source = Folder.local(tmp_path / "snapshot")
    snapshot, _ = snapshot_of(source, customers())
    plan = plan_for(snapshot, POLICY, consent=CONSENT, destinations=DESTINATIONS)
    with SnapshotFilter(source, snapshot, plan, duplicates=None, at=AT) as run:
        decided = run.decide()
        for file in (tmp_path / "snapshot").iterdir():
            file.unlink()
        snapshot_of(source, replaced)
        run.write(decided, Folder.local(tmp_path / "out"), KEY)
    raise AssertionError("the run has to end before this")


def with_ads(*values: bool | None) -> pa.Table:
    return customers().set_column(3, "ads_ok", pa.array(values, pa.bool_()))


def test_a_signature_that_appears_between_the_passes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"part-00000\.parquet was changed since it was verified"):
        filtering(tmp_path, with_ads(True, True, None, None, None))


def test_a_signature_above_all_others_that_appears_between_the_passes_is_refused(tmp_path: Path) -> None:
    changed = (
        customers().set_column(2, "analytics_ok", pa.array([False] * 5)).set_column(0, "id", pa.nulls(5, pa.int64()))
    )

    with pytest.raises(RefusedError, match=r"part-00000\.parquet was changed since it was verified"):
        filtering(tmp_path, changed)


def test_signatures_with_other_counts_in_the_second_pass_are_refused(tmp_path: Path) -> None:
    changed = pa.concat_tables([customers().slice(0, 4), customers().slice(0, 1)])

    with pytest.raises(RefusedError, match=r"part-00000\.parquet was changed since it was verified"):
        filtering(tmp_path, changed)


def test_a_file_with_more_rows_than_in_its_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"part-00000\.parquet was changed since it was verified"):
        filtering(tmp_path, pa.concat_tables([customers(), customers()]))


def test_a_manifest_whose_parts_do_not_add_up_is_refused(tmp_path: Path) -> None:
    source = Folder.local(tmp_path / "snapshot")
    snapshot, _ = snapshot_of(source, customers())
    plan = plan_for(snapshot, POLICY, consent=CONSENT, destinations=DESTINATIONS)

    with (
        SnapshotFilter(source, snapshot.model_copy(update={"rows": 6}), plan, duplicates=None, at=AT) as run,
        pytest.raises(RefusedError, match="the snapshot's files contain 5 rows, its manifest says 6"),
    ):
        run.decide()


# The decision log


def test_the_decision_log_has_the_reasons_by_destination_for_each_denied_subject(tmp_path: Path) -> None:
    rows = random_rows(600, seed=6)
    run = filter_model(tmp_path, rows)
    policy = parse_policy(EACH_CATEGORY)
    recipients = oracle(rows, policy, SIGNALS, FOUR)

    for row, names in list(zip(rows, recipients, strict=True))[:40]:
        if row["id"] is None or not row["id"].startswith("only-"):
            continue
        found = list(find_decisions(run.folder, run.manifest, KEY, row["id"]))

        consent = {CategoryId(c): signal.status(signal.token(row[signal.column])) for c, signal in SIGNALS.items()}
        if len(names) == len(FOUR):
            assert found == []
            continue
        (entry,) = found
        denied = {name: decide(policy, name, consent, at=AT) for name in FOUR if name not in names}
        assert tuple(entry.recipients) == names
        assert entry.statuses == consent
        assert entry.denied == {
            name: [reason.code for reason in answer.reasons]
            for name, answer in denied.items()
            if isinstance(answer, Denied)
        }


def test_the_decision_log_names_no_subject(tmp_path: Path) -> None:
    run = filtered_customers(tmp_path, customers().set_column(0, "id", pa.array([f"canary-{n}" for n in range(5)])))

    logs = [path.read_bytes() for path in (tmp_path / "permitted").iterdir() if not path.name.startswith("group-")]

    assert len(logs) == 3
    assert not any(b"canary" in content or b"example.com" in content for content in logs)
    assert run.manifest.decision_log.rows == 4


def test_a_subject_with_a_numeric_id_is_found_by_number_and_by_text(tmp_path: Path) -> None:
    run = filtered_customers(tmp_path)

    (by_number,) = find_decisions(run.folder, run.manifest, KEY, 4)
    (by_text,) = find_decisions(run.folder, run.manifest, KEY, "4")

    assert by_number == by_text
    assert by_number.denied["webhook"] == ["C0002:denied", "C0004:denied"]
    assert list(find_decisions(run.folder, run.manifest, KEY, 1)) == []


def test_a_subject_that_occurs_twice_is_found_with_that_reason(tmp_path: Path) -> None:
    rows = [{**row, "id": "twin"} for row in random_rows(2, seed=7)]

    run = filter_model(tmp_path, rows)

    found = list(find_decisions(run.folder, run.manifest, KEY, "twin"))
    assert {entry.subject for entry in found} == {"duplicate_id"}
    assert all("duplicate_id" in reasons for entry in found for reasons in entry.denied.values())


def test_a_look_up_under_another_key_is_refused(tmp_path: Path) -> None:
    run = filtered_customers(tmp_path)

    with pytest.raises(ConfigurationError, match="the decision log was written under another digest key"):
        list(find_decisions(run.folder, run.manifest, SubjectKey("x" * 32), 4))


def test_rows_without_an_id_are_logged_without_a_subject(tmp_path: Path) -> None:
    run = filtered_customers(tmp_path, customers().set_column(0, "id", pa.array([None, 2, None, 4, 5], pa.int64())))

    entries = pa.Table.from_batches(run.folder.read_rows(run.manifest.decision_log.parts, batch_rows=100))

    assert entries.column("subject").null_count == 2
    assert len(set(entries.column("subject").to_pylist())) == 4


def test_another_decision_about_the_same_subject_has_the_same_digest_under_the_same_key(tmp_path: Path) -> None:
    first, second = filtered_customers(tmp_path / "1"), filtered_customers(tmp_path / "2")

    assert first.manifest.decision_log == second.manifest.decision_log


def test_the_manifest_of_a_filter_run_contains_no_value_of_a_row(tmp_path: Path) -> None:
    filtered_customers(tmp_path)

    text = (tmp_path / "permitted" / "manifest.json").read_text()

    assert "example.com" not in text
    assert json.loads(text)["rows_read"] == 5
