"""Single calls of Salesforce's REST API on the session of Airflow's hook, with the org's daily budget.

The hook and `simple_salesforce` log in. The calls are our own: the client's Bulk 2.0 handler waits inside one call, so
a job could not be resumed; it splits files by an estimate; and its errors quote the answer, which quotes rows. Nothing
here writes a file, and no address contains a value of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from simple_salesforce.exceptions import SalesforceAuthenticationFailed

from airflow_consent_retl.contract.outcomes import vendor_code
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.budget import UsageHeader
from airflow_consent_retl.destinations.http.record_lines import RecordApi
from airflow_consent_retl.destinations.http.session_api import RefusedCallError
from airflow_consent_retl.destinations.http.text_values import in_groups

if TYPE_CHECKING:
    from simple_salesforce.api import Salesforce

API_VERSION = "66.0"
# The requests of any 24 hours are counted, so some are free again each hour, and no time has them all.
_AGAIN_S = 3600.0
# A query has at most 2,000 records in an answer, and the text of a statement at most 100,000 characters.
_KEYS_IN_A_QUERY = 500
_QUERY_CHARACTERS = 40_000
# https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_quotedstringescapes.htm
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"})


class SalesforceApi(RecordApi["Salesforce"]):
    """Calls of one org; paths are below `/services/data/v66.0/`."""

    name: ClassVar[str] = "Salesforce"
    over_limit: ClassVar[Mapping[str, float]] = {"REQUEST_LIMIT_EXCEEDED": _AGAIN_S}
    refused_login = (SalesforceAuthenticationFailed,)
    usage = UsageHeader(
        header="sforce-limit-info",
        pattern=r"(?:^|,\s*)api-usage=([0-9]+)/([0-9]+)",
        account="the Salesforce org",
        window="24 hours",
        again_s=_AGAIN_S,
    )

    def records(
        self, kind: str, field: str, keys: Sequence[str], columns: Sequence[str] = (), *, quoted: bool = True
    ) -> list[dict[str, Any]]:
        """Return the records whose field has one of these values, with `Id`, the field and further columns.

        The statement is in the body of a composite request, as Salesforce advises for long ones: in an address, it
        would be limited to 16,384 bytes and in everyone's logs.
        (https://help.salesforce.com/s/articleView?id=000386264, read 2026-11-29)

        Raises: as `document`; AttemptError where the answer is not complete.
        """
        found: list[dict[str, Any]] = []
        select = f"SELECT {', '.join(['Id', field, *columns])} FROM {kind} WHERE {field} IN "  # noqa: S608
        literals = [f"'{key.translate(_ESCAPES)}'" if quoted else key for key in keys]
        for some in in_groups(literals, most=_KEYS_IN_A_QUERY, most_characters=_QUERY_CHARACTERS):
            soql = quote(f"{select}({','.join(some)})", safe="")
            url = f"/services/data/v{API_VERSION}/query?q={soql}"
            request = {"compositeRequest": [{"method": "GET", "url": url, "referenceId": "found"}]}
            answer = self.document("POST", "composite", request, carries_rows=True)
            match answer.get("compositeResponse"):
                case [{"httpStatusCode": 200, "body": {"done": True, "records": list(records)}}]:
                    found += records
                case [{"httpStatusCode": int(status), "body": body}] if 400 <= status < 500:
                    raise RefusedCallError(status, self.code_of(body))
                case _:
                    raise AttemptError("unreadable_answer", maybe_applied=False)
        return found

    def address(self, client: Salesforce, path: str) -> str:
        """Return the URL of a path at the org's instance."""
        return f"https://{client.sf_instance}/services/data/v{API_VERSION}/{path}"

    def token(self, client: Salesforce) -> str:
        """Return the session's id."""
        return str(client.session_id)

    def code_of(self, body: object) -> str:
        """Return the code of a refusal."""
        match body:
            case [{"errorCode": code}, *_] | {"errorCode": code}:
                return vendor_code(code)
            case _:
                return "unnamed"
