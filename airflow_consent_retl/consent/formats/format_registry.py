"""The registry of the consent formats: their names in documents.

A format of this package is named by its class (`BitMask`). A format of your own is named by its module and class
(`our_formats:LoyaltyCard`), so that loads and reports can import it.
"""

from __future__ import annotations

import importlib

from airflow_consent_retl.consent.signals import CategorySignal, WholeConsent
from airflow_consent_retl.consent.switches import RowSwitches
from airflow_consent_retl.errors import PolicyError, Problem

Format = CategorySignal | WholeConsent | RowSwitches

_PACKAGE = "airflow_consent_retl.consent"
# The module of each: a run reads a few of them.
_FORMATS = {
    "AdobeConsent": "formats.adobe",
    "BitMask": "formats.bit_mask",
    "BooleanColumn": "formats.boolean_column",
    "ConsentObject": "formats.consent_object",
    "ConsentObjectKey": "formats.consent_object",
    "CookiebotCategory": "formats.cookiebot",
    "CookiebotConsent": "formats.cookiebot",
    "DidomiPurpose": "formats.didomi",
    "DidomiPurposes": "formats.didomi",
    "ExcludedDestinations": "switches",
    "FilledList": "formats.filled_list",
    "GoogleConsent": "formats.google",
    "GppTcf": "formats.gpp",
    "GppTcfCanada": "formats.gpp_canada",
    "GppUs": "formats.gpp",
    "GrantedId": "formats.granted_ids",
    "GrantedIds": "formats.granted_ids",
    "IntegrationsObject": "switches",
    "JsonList": "formats.json_values",
    "JsonListItem": "formats.json_values",
    "JsonMap": "formats.json_values",
    "JsonPath": "formats.json_values",
    "KetchPurpose": "formats.ketch",
    "KetchPurposes": "formats.ketch",
    "Literals": "formats.literals",
    "OneTrustPurpose": "formats.onetrust_purposes",
    "OneTrustPurposes": "formats.onetrust_purposes",
    "OptOut": "formats.opt_out",
    "OptOuts": "formats.opt_outs",
    "OptanonConsent": "formats.onetrust",
    "OptanonConsentGroup": "formats.onetrust",
    "SnowplowConsent": "formats.snowplow",
    "SnowplowScope": "formats.snowplow",
    "TcfString": "formats.tcf",
    "TranscendPurpose": "formats.transcend",
    "TranscendPurposes": "formats.transcend",
    "TwoLists": "formats.two_lists",
    "UsercentricsService": "formats.usercentrics",
    "UsercentricsServices": "formats.usercentrics",
}


def is_built_in(format_: type[Format]) -> bool:
    """Return whether a format belongs to this package."""
    # INVARIANT: classes are compared, never only their names: another class may have the same name.
    return _built_in(format_.__name__) is format_


def name_of_format(format_: type[Format]) -> str:
    """Return the name of a format in documents."""
    return format_.__name__ if is_built_in(format_) else f"{format_.__module__}:{format_.__qualname__}"


def format_named(name: object) -> type[Format]:
    """Return the format that a document names; a format of your own is imported.

    Raises:
        PolicyError: there is no such format, its module cannot be imported, or the named object is not a format.
    """
    found = _built_in(name) if isinstance(name, str) else None
    if found is None and isinstance(name, str) and ":" in name:
        found = _imported(name)
    if found is None:
        raise PolicyError([Problem("consent", "this version does not know the consent format")])
    if not isinstance(found, type) or not issubclass(found, CategorySignal | WholeConsent | RowSwitches):
        raise PolicyError(
            [Problem("consent", f"`{name}` is not a consent format: it derives from none of their base classes")]
        )
    return found


def _built_in(name: str) -> object:
    module = _FORMATS.get(name)
    return None if module is None else getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name)


def _imported(name: str) -> object:
    module_name, _, path = name.partition(":")  # pragma: no mutate: a second colon is refused in either part
    if not all(part.isidentifier() for part in (*module_name.split("."), *path.split("."))):
        raise PolicyError([Problem("consent", "expected a consent format as `module:Class`, with Python names")])
    try:
        found: object = importlib.import_module(module_name)
    except ImportError as error:
        raise PolicyError(
            [
                Problem(
                    "consent",
                    f"consent format `{name}`: module `{module_name}` cannot be imported here ({error}): put its file "
                    "into the DAGs folder or the plugins folder, or install it, wherever loads and reports run",
                )
            ]
        ) from None
    for part in path.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise PolicyError(
                [
                    Problem(
                        "consent",
                        f"consent format `{name}`: module `{module_name}` has no `{path}`: keep the class there "
                        "as long as permitted sets name it, or run the filter again",
                    )
                ]
            )
    return found
