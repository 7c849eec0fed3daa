"""The names of this package, for type checkers: `__init__.py` finds them as they are asked for."""

from airflow_consent_retl.fields.field_values import columns as columns
from airflow_consent_retl.fields.field_values import consent as consent
from airflow_consent_retl.fields.field_values import constant as constant
from airflow_consent_retl.fields.field_values import expression as expression
from airflow_consent_retl.fields.vendor_consent import AmazonAudienceConsent as AmazonAudienceConsent
from airflow_consent_retl.fields.vendor_consent import AmazonEventConsent as AmazonEventConsent
from airflow_consent_retl.fields.vendor_consent import MailchimpConsent as MailchimpConsent
from airflow_consent_retl.fields.vendor_consent import MicrosoftConsent as MicrosoftConsent
from airflow_consent_retl.fields.vendor_consent import PinterestConsent as PinterestConsent
from airflow_consent_retl.fields.vendor_consent import TikTokConsent as TikTokConsent

MODULES: dict[str, str]
__all__: list[str]
