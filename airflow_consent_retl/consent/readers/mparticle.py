"""mParticle's consent state, as its events, its profiles and its data warehouses contain it.

    {"gdpr": {"marketing": {"consented": true, "timestamp_unixtime_ms": 1790000000000}},
     "ccpa": {"data_sale_opt_out": {"consented": true}}}

The schema: https://docs.mparticle.com/developers/guides/data-privacy-controls/ and
https://docs.mparticle.com/developers/apis/json-reference/ (not read again); in the SDK, `createCCPAConsent(optOut, …)`:
true is an opt-out of the sale of data (read on 29 November 2026). `timestamp_unixtime_ms` is a time in milliseconds
since 1970, and is often missing.
"""

from __future__ import annotations

from airflow_consent_retl.consent.formats.json_values import JsonMap, JsonPath, PathLike
from airflow_consent_retl.consent.formats.opt_out import OptOut


def mparticle_gdpr(column: str, *, path: PathLike = ("gdpr",)) -> JsonMap:
    """Return the format of the GDPR purposes for all categories: `"consented": true` grants, and false denies.

    Args:
        column: the column with the consent state.
        path: the keys that lead to the purposes: `("consent_state", "gdpr")` in a whole event. mParticle writes the
            names of purposes in lower case.
    """
    return JsonMap(column, path=path, state="consented")


def mparticle_ccpa(column: str, *, path: tuple[str, ...] = ("ccpa",)) -> OptOut:
    """Return the format of the opt-out of the sale of data: `"consented": true` is a no, and false is no yes.

    Args:
        column: the column with the consent state.
        path: the keys that lead to `data_sale_opt_out`.
    """
    return OptOut(JsonPath(column, (*path, "data_sale_opt_out", "consented")))
