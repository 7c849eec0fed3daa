"""Meta's Graph API: its connections, the proof of the app's secret, and the meaning of its errors. Imports no client.

Read 2026-11-29: the fields in the wheel facebook-business 26.0.3; errors on
https://developers.facebook.com/docs/graph-api/guides/error-handling and
https://developers.facebook.com/docs/marketing-api/error-reference, the error of a flagged audience on
https://developers.facebook.com/documentation/ads-commerce/marketing-api/reference/custom-audience/users, the proof on
https://developers.facebook.com/docs/graph-api/guides/secure-requests, the header with the used part of the calls of
an hour on https://developers.facebook.com/docs/graph-api/overview/rate-limiting.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.destinations.http.attempt import AttemptError, end_of
from airflow_consent_retl.destinations.http.responses import is_integer, objects_in, stated
from airflow_consent_retl.destinations.http.vendor import vendor_address
from airflow_consent_retl.destinations.meta import META
from airflow_consent_retl.errors import ConfigurationError, DestinationError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer

FLAGGED_AUDIENCE = 1713230
# Limits on calls of an app, a user, a page and an account; nothing of the call was applied.
_THROTTLED = frozenset({4, 17, 32, 341, 613, *range(80000, 80015)})
# An unknown error, and a service that does not answer: the call may have been applied.
_FAILED = frozenset({1, 2})
# The token, permissions, and what the app or the account may not do.
_REFUSED = frozenset({3, 10, 102, 190, 294, 368, 803, *range(200, 300)})


def graph_address(conn_id: str, endpoint: str) -> tuple[HttpAddress, str]:
    """Return the address of an endpoint, and the proof of the app's secret; empty: the connection has no secret.

    Raises:
        ConfigurationError: the connection is not usable; no secret is quoted.
    """
    from airflow.sdk.log import mask_secret

    from airflow_consent_retl.hooks.lookups import connection_named

    address = vendor_address(conn_id, META, endpoint)
    connection = connection_named(conn_id)
    secret = connection.extra_dejson.get("app_secret") or ""
    if not isinstance(secret, str):
        raise ConfigurationError(f"`app_secret` in the extra of connection `{conn_id}` has to be text")
    if not secret:
        return address, ""
    proof = hmac.new(secret.encode(), (connection.password or "").encode(), hashlib.sha256).hexdigest()
    mask_secret(proof)
    return address, proof


def proved_address(conn_id: str, endpoint: str) -> HttpAddress:
    """Return the address of a request without a body: the proof, if there is one, is in the query.

    Raises:
        ConfigurationError: the connection is not usable; no secret is quoted.
    """
    address, proof = graph_address(conn_id, endpoint)
    return replace(address, query=f"appsecret_proof={proof}") if proof else address


def place_of(address: HttpAddress) -> str:
    """Return the end of a target's name: empty for Meta's own host, which may change its version."""
    return "" if address.host == "graph.facebook.com" else f" at {address.scheme}://{address.host}:{address.port}"


def error_of(answer: Answer) -> tuple[int, int, bool] | None:
    """Return the code and the subcode of an error, and whether it may pass; None: the answer is no error of Meta's."""
    error = stated(answer, "error")
    if not isinstance(error, dict) or not is_integer(error.get("code")):
        return None
    subcode: Any = error.get("error_subcode")
    return int(error["code"]), int(subcode) if is_integer(subcode) else 0, error.get("is_transient") is True


def check_answer(answer: Answer) -> None:
    """Check that an answer is no error of the whole call. Meta's own message quotes values, and is never repeated.

    A flagged audience is an error of its own: it refuses removals too, so a person has to appeal.

    Raises:
        AttemptError: another try may succeed.
        DestinationError: no request can succeed.
    """
    found = error_of(answer)
    if found is None:
        return
    code, subcode, may_pass = found
    named = refusal_code(answer)
    if subcode == FLAGGED_AUDIENCE:
        raise DestinationError(
            "Meta flagged this audience (operation_status 471, subcode 1713230), and refuses every change of its "
            "members, removals too: PEOPLE WHO WITHDREW ARE STILL IN THE AUDIENCE. Take it out of all ad sets now, and "
            "appeal in Meta's Audience Manager, or delete the audience there"
        )
    if code in _THROTTLED:
        wait_s = answer.retry_after_s or regained_after_s(answer) or 0
        words = f"its limit on calls is reached until {end_of(wait_s)} ({named})" if wait_s else ""
        raise AttemptError(named, maybe_applied=False, retry_after_s=wait_s or None, words=words)
    if code in _FAILED or may_pass:
        raise AttemptError(named, maybe_applied=True, retry_after_s=answer.retry_after_s)
    # Error 100 with 33: there is no such audience or dataset, or the token may not see it.
    if code in _REFUSED or (code, subcode) == (100, 33):
        raise DestinationError(
            f"Meta refuses every request with {named}: check the access token, its "
            "permissions, and the id of the audience or the dataset"
        )


def regained_after_s(answer: Answer, use_case: str = "") -> float | None:
    """Return the seconds after which Meta takes calls again, by the usage that it states; None: it takes them.

    Args:
        answer: with or without the header `X-Business-Use-Case-Usage`.
        use_case: the kind of calls, such as `custom_audience`; empty: any kind.
    """
    uses = [one for one in objects_in(answer, "x-business-use-case-usage") if use_case in str(one.get("type"))]
    waits = [one.get("estimated_time_to_regain_access") for one in uses]
    return 60.0 * max((one for one in waits if is_integer(one)), default=0) or None


def refusal_code(answer: Answer) -> str:
    """Return the code of rows that were refused with a batch: Meta's numbers, or the status."""
    found = error_of(answer)
    return f"http_{answer.status}" if found is None else f"error_{found[0]}" + (f"_{found[1]}" if found[1] else "")
