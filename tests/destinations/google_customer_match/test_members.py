"""What becomes of a person's values before Google sees them."""

from __future__ import annotations

from hashlib import sha256

import pyarrow as pa
import pytest

from airflow_consent_retl.destinations.data_manager.members import MemberEncoder
from airflow_consent_retl.destinations.http.people_encoder import EncodedPeople
from airflow_consent_retl.errors import ConfigurationError

ADDRESS = {"given_name": "Zoë", "family_name": "O'Brien", "region_code": "us", "postal_code": "94043"}


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def batch(*rows: dict[str, str | None]) -> pa.RecordBatch:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.RecordBatch.from_pydict({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})


def encoder(rows: pa.RecordBatch, *, hashed: bool = False, omit: bool = False) -> MemberEncoder:
    return MemberEncoder(rows.schema, hashed=hashed, on_invalid="omit" if omit else "reject")


def values(encoded: EncodedPeople) -> dict[str, list[str | None]]:
    return {name: column.to_pylist() for name, column in encoded.columns.items()}


def test_hashes_are_sha256_in_hex_and_stay_what_they_were() -> None:
    rows = batch({"email": "Ann@Example.com", "phone": "+1 800 555 0100", **ADDRESS})

    columns = values(encoder(rows).encode(rows))

    assert {name: column[0] for name, column in columns.items()} == {
        "email": "71d4f55f72fa128dfb468a1a3901507c804b74316488744d769d7f4b16696476",
        "phone": "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30",
        "given_name": "2752b88686847fa5c86f47b94ce652b7b3f22a91c37617d451a4db9afa431450",
        "family_name": "65b87174be3b1b122e2b0929f0b84888637d31a4a83bb96a860bcff411f5e668",
        "region_code": "US",
        "postal_code": "94043",
    }


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        ({"email": "nobody", "phone": "+18005550100"}, "invalid_email", "email"),
        ({"email": "a@b.com", "phone": "555-0100"}, "invalid_phone", "phone"),
        ({"email": None, "phone": "  "}, "no_identifier", ""),
        ({"email": "", "phone": None}, "no_identifier", ""),
    ],
)
def test_a_row_with_an_invalid_value_is_refused_with_the_field_that_has_it(
    row: dict[str, str | None], code: str, field: str
) -> None:
    rows = batch(row, {"email": "fine@example.com", "phone": None})

    encoded = encoder(rows).encode(rows)

    assert encoded.refused == {0: code}
    assert encoded.fields == ({0: field} if field else {})
    assert values(encoded) == {"email": [None, digest("fine@example.com")], "phone": [None, None]}


def test_invalid_values_are_left_out_and_counted_where_the_dag_says_so() -> None:
    rows = batch(
        {"email": "a@b.com", "phone": "555-0100"},
        {"email": "nobody", "phone": "555-0101"},
        {"email": None, "phone": None},
    )

    encoded = encoder(rows, omit=True).encode(rows)

    assert encoded.refused == {1: "invalid_email", 2: "no_identifier"}
    assert encoded.omitted == {"invalid_phone": 1}
    assert values(encoded) == {"email": [digest("a@b.com"), None, None], "phone": [None, None, None]}


@pytest.mark.parametrize("missing", ["given_name", "family_name", "region_code", "postal_code"])
def test_an_address_without_one_of_its_parts_is_no_address(missing: str) -> None:
    rows = batch({"email": "a@b.com", **ADDRESS, missing: None}, {"email": None, **ADDRESS, missing: " "})

    encoded = encoder(rows).encode(rows)

    assert encoded.refused == {1: "no_identifier"}
    assert {column[0] for name, column in values(encoded).items() if name != "email"} == {None}


@pytest.mark.parametrize(("code", "valid"), [("94043", True), ("94043-1351", True), ("9404", False), ("SW1A", False)])
def test_a_postal_code_of_the_us_has_five_or_nine_digits(code: str, valid: bool) -> None:
    rows = batch({**ADDRESS, "postal_code": code})

    encoded = encoder(rows).encode(rows)

    assert encoded.refused == ({} if valid else {0: "invalid_postal_code"})


def test_hashed_values_are_taken_as_they_are_and_nothing_else_is() -> None:
    rows = batch(
        {"email": f" {digest('ann@example.com').upper()} "},
        {"email": "ann@example.com"},
        {"email": digest("x")[:-1]},
    )

    encoded = encoder(rows, hashed=True).encode(rows)

    assert values(encoded)["email"][0] == digest("ann@example.com")
    assert encoded.refused == {1: "invalid_hash", 2: "invalid_hash"}


def test_the_same_address_twice_is_one_identifier() -> None:
    rows = batch({"email": "a.b@gmail.com", "email_2": "AB@gmail.com", "email_3": "c@d.com"})

    columns = values(encoder(rows).encode(rows))

    assert [columns[name][0] for name in rows.schema.names] == [digest("ab@gmail.com"), None, digest("c@d.com")]


def test_what_is_kept_for_removal_is_what_is_sent() -> None:
    rows = batch({"email": "Ann@Example.com", **ADDRESS}, {"email": "nobody", **ADDRESS})
    encode = encoder(rows)

    kept = encode.removal_rows(rows)

    assert kept.schema == encode.removal_schema
    assert kept.to_pydict() == values(encode.encode(rows))
    assert set(kept.to_pylist()[1].values()) == {None}


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.string()]
)
def test_text_of_every_layout_is_encoded_the_same(kind: pa.DataType) -> None:
    column = pa.array(["a@b.com", None], pa.string()).cast(kind)
    rows = pa.RecordBatch.from_arrays([column], names=["email"])

    encoded = encoder(rows).encode(rows)

    assert values(encoded) == {"email": [digest("a@b.com"), None]}
    assert encoded.refused == {1: "no_identifier"}


def test_bytes_that_are_no_text_refuse_their_row_alone() -> None:
    raw = pa.array([b"a@b.com", b"\xff\xfe@b.com"]).cast(pa.string(), safe=False)
    broken = pa.StringArray.from_buffers(2, pa.array([b"a@b.com", b"\xff\xfe@b.com"]).buffers()[1], raw.buffers()[2])
    rows = pa.RecordBatch.from_arrays([broken], names=["email"])

    encoded = encoder(rows).encode(rows)

    assert encoded.refused == {1: "invalid_email"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"e_mail": pa.string(), "email": pa.string()}, "no field `e_mail`, did you mean `email`?"),
        ({"email_1": pa.string(), "email": pa.string()}, "no field `email_1`"),
        ({"given_name": pa.string(), "email": pa.string()}, "an address needs the fields `family_name`, `region_code`"),
        ({"region_code": pa.string()}, "no field identifies a person|an address needs"),
        ({"phone": pa.int64()}, "field `phone` is int64, but has to be text"),
        ({f"email_{n}": pa.string() for n in range(2, 11)} | {"phone": pa.string(), "phone_2": pa.string()}, "make 11"),
    ],
)
def test_fields_that_make_no_member_are_refused(fields: dict[str, pa.DataType], message: str) -> None:
    schema = pa.schema(list(fields.items()))

    with pytest.raises(ConfigurationError, match=message):
        MemberEncoder(schema, hashed=False, on_invalid="reject")
