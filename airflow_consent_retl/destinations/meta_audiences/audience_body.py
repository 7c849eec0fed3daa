"""The body of a request that changes an audience: a schema of keys, and the values of each person in its order."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_consent_retl.destinations.meta.processing_options import OPTIONS_FIELD, STATE_FIELD, options_of
from airflow_consent_retl.values.json_rows import JsonRows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from airflow_consent_retl.destinations.http.people_encoder import EncodedPeople, PeopleEncoder

SCHEMA_KEYS: Mapping[str, str] = {
    "email": "EMAIL",
    "phone": "PHONE",
    "external_id": "EXTERN_ID",
    "device_id": "MADID",
    "first_name": "FN",
    "last_name": "LN",
    "gender": "GEN",
    "birth_year": "DOBY",
    "birth_month": "DOBM",
    "birth_day": "DOBD",
    "city": "CT",
    "state": "ST",
    "postal_code": "ZIP",
    "country": "COUNTRY",
}
"""The load's fields that identify a person, each with Meta's key."""

CONSENT_FIELDS = (OPTIONS_FIELD, STATE_FIELD)
_NOTHING = ""
# Meta's session ids are 64-bit; all readers of JSON know this many digits.
_SESSION_BITS = 52


class AudienceBody:
    """Encodes people of one load.

    Args:
        people: normalises and hashes; None: the rows are as they are sent, for removals.
        fields: the fields of the rows, in their order: identifiers, and those of consent.
        beside: further fields of the body.
    """

    def __init__(self, people: PeopleEncoder | None, fields: Sequence[str], beside: Mapping[str, str]) -> None:
        self._people = people
        self._beside = dict(beside)
        self._identifiers = [name for name in fields if name in SCHEMA_KEYS]
        self._with_options = OPTIONS_FIELD in fields
        self._with_state = STATE_FIELD in fields

    @property
    def schema_keys(self) -> list[str]:
        """Meta's keys, in the order of a person's values."""
        keys = [SCHEMA_KEYS[name] for name in self._identifiers]
        if self._with_options:
            keys.append("DATA_PROCESSING_OPTIONS")
        if self._with_state:
            keys += ["DATA_PROCESSING_OPTIONS_COUNTRY", "DATA_PROCESSING_OPTIONS_STATE"]
        return keys

    def rows(self, batch: pa.RecordBatch) -> JsonRows:
        """Return the values of each person, and a code for each who is not sent."""
        options, refused = options_of(batch)
        if self._people is None:
            columns = [batch.column(name).to_pylist() for name in self._identifiers]
            refused = {row: "no_identifier" for row, known in enumerate(zip(*columns, strict=True)) if not any(known)}
        else:
            encoded: EncodedPeople = self._people.encode(batch, refused=refused)
            refused = dict(encoded.refused)
            columns = [encoded.columns[name].to_pylist() for name in self._identifiers]
        # A key that a person lacks is an empty text.
        columns = [[_NOTHING if value is None else value for value in column] for column in columns]
        if self._with_options:
            columns.append([one for one, _, _ in options])
        if self._with_state:
            columns += [[country for _, country, _ in options], [state for _, _, state in options]]
        positions = [row for row in range(batch.num_rows) if row not in refused]
        everyone: list[Any] = list(zip(*columns, strict=True))
        return JsonRows([everyone[row] for row in positions], positions, refused)

    def body(self, records: Sequence[Any]) -> bytes:
        """Return a request's body, with a session of its own, whose id is new in each request."""
        session = {
            "session_id": secrets.randbits(_SESSION_BITS) + 1,
            "batch_seq": 1,
            "last_batch_flag": True,
            "estimated_num_total": len(records),
        }
        payload = {"schema": self.schema_keys, "data": records}
        return msgspec.json.encode({**self._beside, "session": session, "payload": payload})
