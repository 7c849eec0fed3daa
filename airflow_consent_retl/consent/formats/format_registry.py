"""The registry of the consent formats: their names in documents.

A format of this package is named by its class (`BitMask`). A format of your own is named by its module and class
(`our_formats:LoyaltyCard`), so that loads and reports can import it.
"""

from __future__ import annotations

import importlib

from airflow_consent_retl.consent.formats.adobe import AdobeConsent
from airflow_consent_retl.consent.formats.bit_mask import BitMask
from airflow_consent_retl.consent.formats.boolean_column import BooleanColumn
from airflow_consent_retl.consent.formats.consent_object import ConsentObject, ConsentObjectKey
from airflow_consent_retl.consent.formats.cookiebot import CookiebotCategory, CookiebotConsent
from airflow_consent_retl.consent.formats.didomi import DidomiPurpose, DidomiPurposes
from airflow_consent_retl.consent.formats.filled_list import FilledList
from airflow_consent_retl.consent.formats.google import GoogleConsent
from airflow_consent_retl.consent.formats.gpp import GppTcf, GppUs
from airflow_consent_retl.consent.formats.gpp_canada import GppTcfCanada
from airflow_consent_retl.consent.formats.granted_ids import GrantedId, GrantedIds
from airflow_consent_retl.consent.formats.json_values import JsonList, JsonListItem, JsonMap, JsonPath
from airflow_consent_retl.consent.formats.ketch import KetchPurpose, KetchPurposes
from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.formats.onetrust import OptanonConsent, OptanonConsentGroup
from airflow_consent_retl.consent.formats.onetrust_purposes import OneTrustPurpose, OneTrustPurposes
from airflow_consent_retl.consent.formats.opt_out import OptOut
from airflow_consent_retl.consent.formats.opt_outs import OptOuts
from airflow_consent_retl.consent.formats.snowplow import SnowplowConsent, SnowplowScope
from airflow_consent_retl.consent.formats.tcf import TcfString
from airflow_consent_retl.consent.formats.transcend import TranscendPurpose, TranscendPurposes
from airflow_consent_retl.consent.formats.two_lists import TwoLists
from airflow_consent_retl.consent.formats.usercentrics import UsercentricsService, UsercentricsServices
from airflow_consent_retl.consent.signals import CategorySignal, WholeConsent
from airflow_consent_retl.consent.switches import ExcludedDestinations, IntegrationsObject, RowSwitches
from airflow_consent_retl.errors import PolicyError, Problem

Format = CategorySignal | WholeConsent | RowSwitches

_FORMATS: dict[str, type[Format]] = {
    format_.__name__: format_
    for format_ in (
        AdobeConsent,
        CookiebotCategory,
        CookiebotConsent,
        DidomiPurpose,
        DidomiPurposes,
        JsonList,
        JsonListItem,
        JsonMap,
        JsonPath,
        KetchPurpose,
        KetchPurposes,
        OneTrustPurpose,
        OneTrustPurposes,
        SnowplowConsent,
        SnowplowScope,
        TranscendPurpose,
        TranscendPurposes,
        UsercentricsService,
        UsercentricsServices,
        BitMask,
        BooleanColumn,
        ConsentObject,
        ConsentObjectKey,
        ExcludedDestinations,
        FilledList,
        GoogleConsent,
        GppTcf,
        GppTcfCanada,
        GppUs,
        GrantedId,
        GrantedIds,
        IntegrationsObject,
        Literals,
        OptOut,
        OptOuts,
        OptanonConsent,
        OptanonConsentGroup,
        TcfString,
        TwoLists,
    )
}


def is_built_in(format_: type[Format]) -> bool:
    """Return whether a format belongs to this package."""
    # INVARIANT: classes are compared, never only their names: another class may have the same name.
    return _FORMATS.get(format_.__name__) is format_


def name_of_format(format_: type[Format]) -> str:
    """Return the name of a format in documents."""
    return format_.__name__ if is_built_in(format_) else f"{format_.__module__}:{format_.__qualname__}"


def format_named(name: object) -> type[Format]:
    """Return the format that a document names; a format of your own is imported.

    Raises:
        PolicyError: there is no such format, its module cannot be imported, or the named object is not a format.
    """
    found: object = _FORMATS.get(name) if isinstance(name, str) else None
    if found is None and isinstance(name, str) and ":" in name:
        found = _imported(name)
    if found is None:
        raise PolicyError([Problem("consent", "this version does not know the consent format")])
    if not isinstance(found, type) or not issubclass(found, CategorySignal | WholeConsent | RowSwitches):
        raise PolicyError(
            [Problem("consent", f"`{name}` is not a consent format: it derives from none of their base classes")]
        )
    return found


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
