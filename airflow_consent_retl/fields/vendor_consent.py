"""The consent fields of vendors, in their own names and values: each a person's own answer to a category.

    fields={"email": "email", **AmazonAudienceConsent(user_data="C0004", ad_storage="C0002").fields()}

A record takes ids of categories and no value, so it can never tell a vendor a constant. Both values are sent: these
vendors take a field that is missing for a yes. Their documentation, read 2026-11-29:

| vendor | source |
|---|---|
| Amazon | `idealerror/amazon-ads-api-docs@08dc185: en-us/guides/ads-data-manager/adm-consent-management.md`; the places in a body in `segmentio/action-destinations@970a17e: …/amazon-amc/types.ts` and `…/amazon-conversions-api/` |
| TikTok | https://ads.tiktok.com/marketing_api/docs?id=1771101204435970, as `segmentio/action-destinations@970a17e: …/tiktok-app-events/` cites it |
| Pinterest | `ConversionEvents` of `pinterest/api-description@c05b189: v5/openapi.yaml` |
| Microsoft | `segmentio/action-destinations@970a17e: …/ms-bing-capi/sendEvent/fields.ts` |
| Mailchimp | https://mailchimp.com/developer/marketing/api/list-members/, and the refusal of people who unsubscribed there in https://github.com/ibericode/mailchimp-for-wordpress/issues/798 |

Not offered, since only its absence would be a yes, or since a load would overwrite what a person chose at the vendor:
Pinterest's `opt_out_type`, and Mailchimp's `marketing_permissions`.
"""  # noqa: E501 - addresses

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.fields.field_values import ConsentAnswer, Scalar, consent, value_of


@dataclass(frozen=True, slots=True)
class VendorSignal:
    """A vendor's field for consent, and its two values.

    Args:
        field: its name; with dots, in nested objects.
        granted: the value after an explicit yes.
        otherwise: the value in any other case.
    """

    field: str
    granted: Scalar
    otherwise: Scalar

    def tells(self, text: str) -> bool:
        """Return whether a load's value of the field is a person's own answer, the right way round."""
        answer = value_of(text)
        if not isinstance(answer, ConsentAnswer):
            return False
        # `1` is equal to `True`, and is another value in JSON.
        told, wanted = (answer.granted, answer.otherwise), (self.granted, self.otherwise)
        return [(type(one), one) for one in told] == [(type(one), one) for one in wanted]


@dataclass(frozen=True, slots=True)
class VendorConsent(ABC):
    """The consent of a person in a vendor's form. A subclass has an argument for each of its signals.

    Attributes:
        vendor: its name.
        signals: by argument, the field and its values.
    """

    vendor: ClassVar[str]
    signals: ClassVar[Mapping[str, VendorSignal]]

    def __post_init__(self) -> None:
        """Check that each argument is the id of a category.

        Raises:
            ConfigurationError: it is none, or is a value.
        """
        for name, signal in self.signals.items():
            category = getattr(self, name)
            if not isinstance(category, str) or not category.strip():
                raise ConfigurationError(f"{self.vendor}'s `{name}` takes the id of a category, such as 'C0004'")
            if category.strip().lower() in {str(one).lower() for one in (signal.granted, signal.otherwise)}:
                raise ConfigurationError(
                    f"{self.vendor}'s `{name}` takes the id of a category, such as 'C0004', and no value: "
                    f"`{category}` would be the same for everyone"
                )

    def fields(self) -> dict[str, str]:
        """Return the fields of a load, each with the person's answer to its category."""
        return {
            signal.field: consent(getattr(self, name), granted=signal.granted, otherwise=signal.otherwise)
            for name, signal in self.signals.items()
        }

    @classmethod
    def taken(cls) -> dict[str, VendorSignal]:
        """Return the vendor's fields, for `consent` of a declaration, which then refuses anything else in them."""
        return {signal.field: signal for signal in cls.signals.values()}


_AMAZON = {"user_data": "amznUserData", "ad_storage": "amznAdStorage"}


def _amazon(place: str) -> dict[str, VendorSignal]:
    return {name: VendorSignal(f"{place}.{signal}", "GRANTED", "DENIED") for name, signal in _AMAZON.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class AmazonAudienceConsent(VendorConsent):
    """Amazon's consent signal of a record of an audience. Amazon takes a missing `amznAdStorage` for a yes.

    Args:
        user_data: the category for the use of personal data for advertising.
        ad_storage: the category for cookies.
    """

    vendor: ClassVar[str] = "Amazon"
    signals: ClassVar[Mapping[str, VendorSignal]] = _amazon("userConsent.consent.amzn")

    user_data: str
    ad_storage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AmazonEventConsent(VendorConsent):
    """Amazon's consent signal of an event of the Conversions API; the arguments are those of an audience's record."""

    vendor: ClassVar[str] = "Amazon"
    signals: ClassVar[Mapping[str, VendorSignal]] = _amazon("consent.amazonConsent")

    user_data: str
    ad_storage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TikTokConsent(VendorConsent):
    """TikTok's limited data use of an event of the Events API: on unless the person said yes.

    Args:
        full_use: the category for the use without a limit.
    """

    vendor: ClassVar[str] = "TikTok"
    signals: ClassVar[Mapping[str, VendorSignal]] = {"full_use": VendorSignal("limited_data_use", False, True)}

    full_use: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PinterestConsent(VendorConsent):
    """Pinterest's opt-out of an event of the conversions API: set unless the person said yes.

    Args:
        tracking: the category for the use of events for ads.
    """

    vendor: ClassVar[str] = "Pinterest"
    signals: ClassVar[Mapping[str, VendorSignal]] = {"tracking": VendorSignal("opt_out", False, True)}

    tracking: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MicrosoftConsent(VendorConsent):
    """Microsoft's `adStorageConsent` of an event of the Conversions API: `G` granted, `D` denied.

    Args:
        ad_storage: the category for advertising.
    """

    vendor: ClassVar[str] = "Microsoft"
    signals: ClassVar[Mapping[str, VendorSignal]] = {"ad_storage": VendorSignal("adStorageConsent", "G", "D")}

    ad_storage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MailchimpConsent(VendorConsent):
    """Mailchimp's state of a member. Mailchimp refuses to subscribe a person who unsubscribed there.

    Args:
        email: the category for e-mail marketing.
    """

    vendor: ClassVar[str] = "Mailchimp"
    signals: ClassVar[Mapping[str, VendorSignal]] = {"email": VendorSignal("status", "subscribed", "unsubscribed")}

    email: str
