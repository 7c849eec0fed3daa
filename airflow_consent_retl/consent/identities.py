"""The link table of identities, declared: which people share an identifier, so that one person's no reaches them all.

Never runs a query. `consent.linked` contains the rule for the answers of linked people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from airflow_consent_retl.consent.match_forms import MatchForm
from airflow_consent_retl.consent.signals import require
from airflow_consent_retl.consent.source_checks import (
    match_problems,
    number_problems,
    same_column_problems,
    shrink_problems,
    text_problems,
)

# The column of a snapshot with the number of a row's cluster; negative for one that is too large, NULL for none.
CLUSTER = "consent_retl_cluster"
# The column with the id, as text, of a person who is linked to the model and not in it.
PERSON = "consent_retl_person"
_REQUIRED_TEXTS = ("sql", "subject", "identifier")
_TEXTS = (*_REQUIRED_TEXTS, "kind", "key", "conn_id")


@dataclass(frozen=True, slots=True)
class IdentityLinks:
    """A query for the identifiers of people: a person, a device, an e-mail's digest, a household's account.

        IdentityLinks("SELECT person_id, email_sha256 FROM identity_graph", subject="person_id",
                      identifier="email_sha256", key="user_id")

    People who share an identifier are one cluster, also through others: if A and B share an e-mail, and B and C a
    device, all three are one. A no of one of them denies all of them. A yes is never passed on.

    The query also names people who are not rows of the model, such as a device with consent of its own: every consent
    source with the same `key` is asked about them too. Rows without a person or an identifier link no one.

    Args:
        sql: a SELECT with a row for each identifier of a person. Templated, also from a `.sql` file.
        subject: the query's column with the person's id: text or integers.
        identifier: the query's column with an identifier: text or integers. Where people's ids are identifiers too,
            select that column twice: `SELECT id, id AS identifier …`.
        kind: the query's column with the kind of the identifier, so that equal texts of two kinds link no one; None:
            all identifiers are of one kind.
        key: the model's column that `subject` equals; None: the column of the same name.
        conn_id: an Airflow connection; None: the model's. Templated.
        match: the form in which people's ids are compared, as for `SuppressionList`: who is missed could be sent.
        identifier_match: the form in which identifiers are compared.
        max_cluster_size: the most people that identifiers may link to each other. A larger cluster is the sign of an
            identifier that is no one's own, such as the IP address of an office: all of its people are denied, with a
            warning.
        min_rows: the fewest links that the table must have, or reading it fails; 0 accepts an empty table.
        require_match: fail if the model has rows but none of them is in the table, which is the sign of a wrong key.
        max_shrink_ratio: the largest share of its links that the table may lose since the model's last extraction, 0
            to 1, or the extraction fails. None: no limit.

    Raises:
        PolicyError: a parameter is wrong. The error contains every problem.
    """

    sql: str
    subject: str
    identifier: str
    kind: str | None = None
    key: str | None = None
    conn_id: str | None = None
    match: str = "folded"
    identifier_match: str = "folded"
    max_cluster_size: int = 50
    min_rows: int = 1
    require_match: bool = True
    max_shrink_ratio: float | None = None

    column_types: ClassVar[tuple[tuple[str, str], ...]] = ()
    doubts: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        path = type(self).__name__
        texts = {name: getattr(self, name) for name in _TEXTS}
        problems = text_problems(path, texts, required=_REQUIRED_TEXTS)
        columns = {"subject": self.subject, "identifier": self.identifier, "kind": self.kind}
        # An unhashable value has its problem already.
        problems += same_column_problems(path, columns) if not problems else []
        problems += match_problems(self.match, path) + shrink_problems(self.max_shrink_ratio, path)
        problems += match_problems(self.identifier_match, path, "identifier_match")
        problems += number_problems(self.max_cluster_size, f"{path}.max_cluster_size", least=2)
        problems += number_problems(self.min_rows, f"{path}.min_rows", least=0)
        require(problems)
        object.__setattr__(self, "key", self.subject if self.key is None else self.key)

    @property
    def brought(self) -> tuple[str, ...]:
        """The name of the column that the snapshot gets."""
        return (CLUSTER,)

    @property
    def suppressions(self) -> tuple[str, ...]:
        """The columns that suppress: none."""
        return ()

    @property
    def form(self) -> MatchForm:
        """The form in which people's ids are compared."""
        return MatchForm(self.match)

    @property
    def identifier_form(self) -> MatchForm:
        """The form in which identifiers are compared."""
        return MatchForm(self.identifier_match)

    def rendered(self, render: Callable[[str], str]) -> IdentityLinks:
        """Return the links with their templates rendered."""
        conn_id = None if self.conn_id is None else render(self.conn_id)
        return replace(self, sql=render(self.sql), conn_id=conn_id)
