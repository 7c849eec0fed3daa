"""Google's consent states (`ad_user_data`, `ad_personalization`) in the spellings of its products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_consent_retl.consent.signals import ConsentStatus, DocumentSignal, column_problems, require

# Data Manager, `Consent`: https://developers.google.com/data-manager/api/reference/rest/v1/Consent
# Google Ads API, `ConsentStatus`: https://developers.google.com/google-ads/api/reference/rpc/latest/ConsentStatusEnum
# Display & Video 360, `Consent`: https://developers.google.com/display-video/api/reference/rest/v4/Consent
# Consent mode of tags, in lower case: https://developers.google.com/tag-platform/security/guides/consent
# (these pages were not read again). Enumeration numbers are refused: 2 grants in one product and denies in another.
_STATES = {
    "CONSENT_GRANTED": ConsentStatus.GRANTED,
    "CONSENT_STATUS_GRANTED": ConsentStatus.GRANTED,
    "GRANTED": ConsentStatus.GRANTED,
    "granted": ConsentStatus.GRANTED,
    "CONSENT_DENIED": ConsentStatus.DENIED,
    "CONSENT_STATUS_DENIED": ConsentStatus.DENIED,
    "DENIED": ConsentStatus.DENIED,
    "denied": ConsentStatus.DENIED,
    "CONSENT_STATUS_UNSPECIFIED": ConsentStatus.UNKNOWN,
    "UNSPECIFIED": ConsentStatus.UNKNOWN,
    "UNKNOWN": ConsentStatus.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class GoogleConsent(DocumentSignal):
    """A text column with the state of one signal, `ad_user_data` or `ad_personalization`.

    The spelling must be exactly that of one of the products. Unspecified and unknown states are unknown. Map a
    destination that needs both signals to two categories, one for each signal.
    """

    is_standard: ClassVar[bool] = True

    column: str

    def __post_init__(self) -> None:
        require(column_problems(self.column, "GoogleConsent"))

    def read(self, text: str) -> ConsentStatus:
        """Return the status of a state."""
        return _STATES.get(text, ConsentStatus.INVALID)
