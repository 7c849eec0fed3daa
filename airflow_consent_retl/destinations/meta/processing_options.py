"""Meta's data processing options of a person: Limited Data Use, and the state of the US that it is for.

Pure. https://developers.facebook.com/documentation/ads-commerce/marketing-api/overview/data-processing-options, read
2026-11-29. For customer lists, Meta offers Limited Data Use to people in California only; for events, to people in all
these states. Where no state is named, Meta finds it out itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.fields.field_values import Constant, value_of

if TYPE_CHECKING:
    import pyarrow as pa

OPTIONS_FIELD = "data_processing_options"
STATE_FIELD = "data_processing_state"
INVALID_OPTIONS = "invalid_data_processing_options"
INVALID_STATE = "invalid_data_processing_state"

LIMITED_DATA_USE = "LDU"
FULL_USE = "NONE"
STATES = {
    "CA": 1000, "CO": 1001, "CT": 1002, "FL": 1003, "OR": 1004, "TX": 1005, "MT": 1006, "DE": 1007, "NE": 1008,
    "NH": 1009, "NJ": 1010, "MN": 1011, "MD": 1012, "RI": 1013,
}  # fmt: skip
_US = 1

Options = tuple[list[str], int, int]
"""The options, the country and the state, as Meta wants them; 0: Meta finds it out."""


def check_told(fields: Mapping[str, str]) -> None:
    """Check that full use is not sent for everyone; a template is not rendered yet, and left out.

    Raises:
        ConfigurationError: it is a constant.
    """
    # Fields that another task returns are not known when a DAG file is read.
    text = fields.get(OPTIONS_FIELD) if isinstance(fields, Mapping) else None
    if text is None or (isinstance(text, str) and ("{{" in text or "{%" in text)):
        return
    value = value_of(text)
    if isinstance(value, Constant) and str(value.value).strip().upper() == FULL_USE and value.value is not None:
        raise ConfigurationError(
            f"field `{OPTIONS_FIELD}` tells full use of everyone, whatever they answered: write "
            "consent('C0008', granted='none', otherwise='LDU') with the category that stands for it"
        )


def options_of(rows: pa.RecordBatch) -> tuple[list[Options], dict[int, str]]:
    """Return the options of each row, and a code for each row whose fields have none.

    The field `data_processing_options` is `none` for full use; `LDU`, and NULL too, limit it. The field
    `data_processing_state` is the two-letter code of a state of the US. A state without Limited Data Use, or none, is
    left to Meta. Without the first field, Meta gets no statement, which is full use.
    """
    names = rows.schema.names
    given = _texts(rows, OPTIONS_FIELD) if OPTIONS_FIELD in names else [FULL_USE] * rows.num_rows
    states = _texts(rows, STATE_FIELD) if STATE_FIELD in names else [None] * rows.num_rows
    found: list[Options] = []
    refused: dict[int, str] = {}
    for row, (option, state) in enumerate(zip(given, states, strict=True)):
        if option not in {None, LIMITED_DATA_USE, FULL_USE}:
            refused[row] = INVALID_OPTIONS
        if state is not None and not (len(state) == 2 and state.isascii() and state.isalpha()):
            refused.setdefault(row, INVALID_STATE)
        code = STATES.get(state or "", 0)
        # INVARIANT: a value that is missing, or withheld from this person, never counts as full use.
        found.append(([], 0, 0) if option == FULL_USE else ([LIMITED_DATA_USE], _US if code else 0, code))
    return found, refused


def _texts(rows: pa.RecordBatch, name: str) -> Iterable[str | None]:
    texts = rows.column(name).to_pylist()
    return [None if text is None or not str(text).strip() else str(text).strip().upper() for text in texts]
