"""Tests of permitted sets: they are checked before the first row is read, and only mapped columns are read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.permitting import AT, Filtered, customers, filtered_customers, verify

from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.filtering.permitted_files import FilePermittedRows

FIELDS = {"key": "id", "mail": "email"}


@pytest.fixture
def run(tmp_path: Path) -> Filtered:
    return filtered_customers(tmp_path)


def verified(
    run: Filtered,
    *,
    destination: str = "lake",
    fields: Mapping[str, str] | None = FIELDS,
    age_s: float = 60,
    **manifest: Any,
) -> FilePermittedRows:
    return verify(
        run.folder,
        run.manifest.model_copy(update=manifest),
        manifest_sha256=run.sha256,
        destination=destination,
        fields=fields,
        policy_digest=run.manifest.policy_digest,
        max_age_s=3_600,
        now=AT + timedelta(seconds=age_s),
    )


def files_of(run: Filtered, destination: str) -> list[Path]:
    names = [part.name for group in run.manifest.groups if destination in group.recipients for part in group.parts]
    return [Path(run.folder.path) / name for name in names]


def test_the_rows_of_one_destination_come_with_its_own_field_names(run: Filtered) -> None:
    permitted = verified(run)

    rows = pa.Table.from_batches(permitted.batches(10))

    assert rows.to_pylist() == [{"key": 1, "mail": "a@example.com"}, {"key": 3, "mail": "c@example.com"}]
    assert rows.schema == permitted.schema()
    assert permitted.rows == permitted.counts.permitted == 2
    assert permitted.key_field == "key"


def test_without_a_field_mapping_all_columns_are_unchanged(run: Filtered) -> None:
    permitted = verified(run, fields=None)

    assert pa.Table.from_batches(permitted.batches(10)).equals(customers().take([0, 2]))


def test_one_column_may_fill_two_fields_and_the_key_need_not_be_mapped(run: Filtered) -> None:
    permitted = verified(run, fields={"b": "email", "a": "email"})

    assert [rows.to_pylist() for rows in permitted.batches(1)] == [
        [{"b": mail, "a": mail}] for mail in ("a@example.com", "c@example.com")
    ]
    assert permitted.key_field is None


# Refusals


def test_a_set_that_was_made_for_other_destinations_is_refused(run: Filtered) -> None:
    with pytest.raises(RefusedError) as refusal:
        verified(run, destination="printer")

    assert str(refusal.value) == (
        "this permitted set was not made for destination `printer`: it was made for `ads`, `lake`, `webhook`"
    )


@pytest.mark.parametrize("name", ["Lake", "lke", "lakes", "la-ke"])
def test_a_destination_that_resembles_one_of_the_set_is_refused_with_the_near_match(run: Filtered, name: str) -> None:
    with pytest.raises(RefusedError, match=f"was not made for destination `{name}`, did you mean `lake`\\?"):
        verified(run, destination=name)


def test_a_policy_that_changed_since_the_decision_is_refused(run: Filtered) -> None:
    with pytest.raises(RefusedError) as refusal:
        verified(run, policy_digest="sha256:other")

    assert str(refusal.value) == (
        "the policy changed since consent was decided for `lake`: run the filter again "
        f"(decided under sha256:other, now {run.manifest.policy_digest})"
    )


def test_a_decision_that_is_too_old_is_refused(run: Filtered) -> None:
    verified(run, age_s=3_600)

    with pytest.raises(RefusedError) as refusal:
        verified(run, age_s=3_601)

    assert str(refusal.value) == (
        "consent for `lake` was decided 3,601 s ago, max_age_s is 3,600: run the filter again"
    )


def test_a_decision_further_in_the_future_than_clocks_differ_is_refused(run: Filtered) -> None:
    verified(run, age_s=-299)

    with pytest.raises(RefusedError, match="consent for `lake` was decided -301 s ago"):
        verified(run, age_s=-301)


@pytest.mark.parametrize("which", [0, 1])
def test_one_flipped_bit_in_any_of_its_files_is_refused(run: Filtered, which: int) -> None:
    path = files_of(run, "lake")[which]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)

    with pytest.raises(RefusedError, match=f"{path.name} was changed since it was written: its SHA-256 differs"):
        verified(run)


def test_a_file_that_was_cut_short_is_refused(run: Filtered) -> None:
    path = files_of(run, "lake")[0]
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(RefusedError, match=rf"{path.name} has [\d,]+ bytes, its manifest says"):
        verified(run)


def test_a_missing_file_is_refused(run: Filtered) -> None:
    path = files_of(run, "lake")[1]
    path.unlink()

    with pytest.raises(RefusedError, match=f"{path.name} does not exist any more"):
        verified(run)


def test_files_of_other_destinations_are_not_read(run: Filtered) -> None:
    for path in set(files_of(run, "ads")) - set(files_of(run, "lake")):
        path.unlink()

    assert verified(run).rows == 2


def test_a_file_with_another_number_of_rows_than_in_the_manifest_is_refused_before_the_first_row(run: Filtered) -> None:
    groups = [
        group.model_copy(
            update={"rows": 2, "parts": tuple(part.model_copy(update={"rows": 2}) for part in group.parts)}
        )
        for group in run.manifest.groups
    ]
    counts = {
        name: c.model_copy(update={"read": 6, "permitted": 4, "denied": 2})
        for name, c in run.manifest.destinations.items()
    }

    with pytest.raises(RefusedError, match="holds 1 rows, its manifest says 2"):
        verified(run, groups=tuple(groups), destinations=counts)


def test_parts_that_do_not_add_up_to_their_group_are_refused(run: Filtered) -> None:
    groups = [group.model_copy(update={"rows": group.rows + 1}) for group in run.manifest.groups]

    with pytest.raises(RefusedError, match="the parts of a group do not add up to its 2 rows"):
        verified(run, groups=tuple(groups))


@pytest.mark.parametrize(
    "counts", [{"permitted": 3, "read": 6}, {"permitted": 1, "read": 4}, {"denied": 4}, {"read": 4}]
)
def test_counts_that_do_not_add_up_are_refused(run: Filtered, counts: dict[str, int]) -> None:
    changed = run.manifest.destinations["lake"].model_copy(update=counts)

    with pytest.raises(RefusedError, match=r"the rows for `lake` do not add up to \d"):
        verified(run, destinations={**run.manifest.destinations, "lake": changed})


def test_a_group_that_names_a_destination_it_was_not_counted_for_is_refused(run: Filtered) -> None:
    groups = [group.model_copy(update={"recipients": ("ads", "lake", "webhook")}) for group in run.manifest.groups]

    with pytest.raises(RefusedError, match="the rows for `lake` do not add up to 2"):
        verified(run, groups=tuple(groups))


def test_a_part_outside_the_folder_is_refused(run: Filtered) -> None:
    groups = [
        group.model_copy(update={"parts": tuple(part.model_copy(update={"name": "../x"}) for part in group.parts)})
        for group in run.manifest.groups
    ]

    with pytest.raises(RefusedError, match="a manifest names a file outside its folder"):
        verified(run, groups=tuple(groups))


def test_fields_mapped_to_columns_that_the_model_does_not_have_are_all_named(run: Filtered) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        verified(run, fields={"id": "id", "mail": "emial", "born": "birthday", "ID": "ID"})

    assert str(refusal.value) == (
        "fields['mail']: column `emial` is not in the model, did you mean `email`?; "
        "fields['born']: column `birthday` is not in the model; "
        "fields['ID']: column `ID` is not in the model, did you mean `id`?"
    )


def test_an_empty_field_mapping_is_refused(run: Filtered) -> None:
    with pytest.raises(ConfigurationError, match="fields: expected at least one mapped field"):
        verified(run, fields={})


# Reading


def ruin_column(path: Path, column: str) -> None:
    """Overwrite the pages of one column, so that reading them fails."""
    row_group = pq.read_metadata(path).row_group(0)
    chunk = next(c for c in map(row_group.column, range(row_group.num_columns)) if c.path_in_schema == column)
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * chunk.total_compressed_size)


def test_a_change_of_a_column_is_refused_also_where_it_is_not_mapped(run: Filtered) -> None:
    only_ids, with_mail = verified(run, fields={"id": "id"}), verified(run)
    for path in files_of(run, "lake"):
        for column in ("email", "analytics_ok", "ads_ok"):
            ruin_column(path, column)

    for rows in (only_ids, with_mail):
        with pytest.raises(RefusedError, match="was changed since it was verified"):
            list(rows.batches(10))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Filtered:
    rows = pa.concat_tables([customers()] * 50).set_column(0, "id", pa.array(range(250), pa.int64()))
    return filtered_customers(tmp_path_factory.mktemp("many"), rows)


@pytest.mark.parametrize("batch_rows", [1, 7, 33, 50, 51, 99, 100, 101])
def test_batches_are_full_except_the_last_and_the_same_every_time(many: Filtered, batch_rows: int) -> None:
    permitted = verified(many)

    first, second = list(permitted.batches(batch_rows)), list(permitted.batches(batch_rows))

    assert len(permitted.parts) == 2
    assert [rows.num_rows for rows in first[:-1]] == [batch_rows] * (len(first) - 1)
    assert sum(rows.num_rows for rows in first) == 100
    assert first[-1].num_rows > 0
    assert first == second
    ids = [row["key"] for rows in first for row in rows.to_pylist()]
    assert sorted(ids) == [number for number in range(250) if number % 5 in (0, 2)]


def test_the_key_is_the_same_for_the_same_rows_and_fields_only(run: Filtered, many: Filtered) -> None:
    key = verified(run).key

    assert verified(run, age_s=1_800).key == key
    others = [
        verified(run, destination="ads").key,
        verified(run, fields={"key": "id"}).key,
        verified(run, fields={"mail": "email", "key": "id"}).key,
        verified(run, fields={"key": "id", "e-mail": "email"}).key,
        verified(many).key,
    ]
    assert len({key, *others}) == 6
    assert all(len(digest) == 64 for digest in (key, *others))


def test_an_empty_set_has_the_types_of_its_columns(tmp_path: Path) -> None:
    rows = customers()
    for number, type_ in enumerate(
        (
            pa.decimal128(12, 2),
            pa.timestamp("us", tz="UTC"),
            pa.timestamp("ns"),
            pa.timestamp("s"),
            pa.date32(),
            pa.time64("us"),
            pa.binary(),
            pa.large_string(),
            pa.float32(),
            pa.uint64(),
            pa.null(),
        )
    ):
        rows = rows.append_column(f"c{number}", pa.nulls(5, type_))
    empty = filtered_customers(tmp_path / "empty", rows.slice(0, 0))

    permitted = verified(empty, fields=None)

    assert permitted.rows == 0
    assert permitted.schema() == rows.schema
    assert list(permitted.batches(10)) == []
