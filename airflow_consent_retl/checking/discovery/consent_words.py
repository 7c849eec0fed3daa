"""The words that name consent, and the literals that record it, in English, German, French, Spanish and Italian.

INVARIANT: a literal of a row is shown only if it is one of these words. Any other value is only counted.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum

from airflow_consent_retl.consent.opposite import says_opposite


class Meaning(StrEnum):
    """The usual meaning of a literal. The names are those of the parameters of `Literals`."""

    YES = "granted"
    NO = "denied"
    NEITHER = "unknown"
    ENDED = "expired"


_YES = """
yes y true t 1 granted grant consent_granted consent_status_granted opt_in optin opted_in in allow allowed allow_all
accept accepted agree agreed consented consent given consent_given consentgiven permitted active confirmed enabled on
ok double_opt_in ja j zugestimmt einverstanden erteilt oui o accepte accepté si s aceptado acepta sì accettato
"""
_NO = """
no n false f 0 denied deny consent_denied consent_status_denied opt_out optout opted_out out hard_opt_out not_allowed
disallowed deny_all refuse refused reject rejected decline declined withdrawn withdraw consent_withdrawn
consentwithdrawn revoked consent_revoked consentrevoked consentrefused unsubscribe unsubscribed no_consent
consent_not_given blocked disabled off objected invalidated consentinvalidated dn nein abgelehnt widerrufen non refusé
refuse_tout rechazado revocado rifiutato revocato
"""
_NEITHER = """
unknown unset unspecified consent_status_unspecified none null not_set n/a na not_asked never_asked never_subscribed
pending pending_approval requested consentrequested consentunknown requestdeferred deferred not_opted_out subscribed
implicit implicit_consent implied acknowledge acknowledged disclosure seen not_seen notseen undefined u p dy unbekannt
inconnu desconocido sconosciuto offen
"""
_ENDED = "expired consentexpired lapsed abgelaufen expiré caducado scaduto"

LITERALS: dict[str, Meaning] = {
    unicodedata.normalize("NFC", word): meaning
    for meaning, words in (
        (Meaning.YES, _YES),
        (Meaning.NO, _NO),
        (Meaning.NEITHER, _NEITHER),
        (Meaning.ENDED, _ENDED),
    )
    for word in words.split()
}

# Literals that many systems write without an answer of the person, or in another sense, each with the reason.
DECEPTIVE = {
    "active": "`active` may be the state of an account",
    "subscribed": "`subscribed` is the default of some systems, not a yes: it counts as unknown",
    "not_opted_out": "`not_opted_out` is a yes only where the law is opt-out: it counts as unknown",
    "implicit": "`implicit` is no answer of a person: it counts as unknown",
    "implicit_consent": "`implicit_consent` is no answer of a person: it counts as unknown",
    "implied": "`implied` is no answer of a person: it counts as unknown",
    "acknowledge": "`acknowledge` is no consent: it counts as unknown",
    "acknowledged": "`acknowledged` is no consent: it counts as unknown",
    "disclosure": "`disclosure` is a legal basis, not consent: it counts as unknown",
    "dy": "`dy` is a default and no answer of a person: it counts as unknown",
    "pending": "`pending` may be an unconfirmed opt-in: it counts as unknown",
    "pending_approval": "`pending_approval` is an unconfirmed opt-in: it counts as unknown",
}

# Ids of categories that consent platforms use by default; they may be shown.
PLATFORM_IDS = ("C0001", "C0002", "C0003", "C0004", "C0005")

# Keys of documents that lead to consent. Other keys are never followed and never shown: they may be a person's values.
_WRAPPERS = """
categories categoryPreferences category_preferences ccpa channels consent consentManagement consent_management
consent_state consents context cookie cookies data gdpr groups integrations marketing payload permissions preferences
privacy properties purposes request settings state status traits
"""
WRAPPERS = frozenset(_WRAPPERS.split())

_CONCEPTS = {
    "advertising": """ad ads advert adverts advertising advertisement targeting targeted marketing remarketing adid
        ad_user_data ad_storage ad_personalization ads_storage werbung publicite publicidad pubblicita c0004""",
    "analytics": """analytics analytic statistics statistic performance measurement measure tracking statistik
        statistiques estadisticas statistiche analyse c0002 analytics_storage""",
    "functional": """functional functionality personalization personalisation personalize personalizacion
        personnalisation preferences funktional c0003 functionality_storage personalization_storage""",
    "social": "social soziale sociaux sociales c0005",
    "necessary": "necessary essential strictly notwendig necessaires necesarias c0001 security_storage",
    "messages": "email mail newsletter sms push whatsapp phone call calls",
    "sale": "sale sell selling share sharing ccpa cpra",
}
CONCEPT_OF = {word: concept for concept, words in _CONCEPTS.items() for word in words.split()}

_CONSENT = """
consent consents consented consenting optin optins opted permission permissions permitted gdpr ccpa cpra lgpd privacy
allow allowed allows agree agreed agreement accept accepted accepts granted tcf gpp gpc optanon onetrust didomi
usercentrics cookiebot cookie cookies ok ketch preference preferences einwilligung zustimmung eingewilligt
consentement accord consentimiento consenso subscribe subscribed subscription subscriptions
"""
_CONSENT_WORDS = frozenset(_CONSENT.split())
_CONSENT_PARTS = ("consent", "optin", "optout", "optedin", "optedout", "einwilligung", "consentement", "consentimiento")
_PERSONAL = """
email mail mails phone telephone mobile fax name firstname lastname surname givenname address street city zip postcode
postal birth birthday birthdate dob ip ssn iban password passwd token secret hash sha256 md5 latitude longitude lat
lon lng url uri user_agent useragent nickname gender nachname vorname adresse strasse telefon nom prenom telephone
nombre apellido nome cognome
"""
_PERSONAL_WORDS = frozenset(_PERSONAL.split())
# Words of columns with the id of a category, in rows that are each about one.
CATEGORY_WORDS = frozenset({"purpose", "category", "topic", "group", "subscription", "scope"})
_ID_WORDS = frozenset({"id", "ids", "uuid", "guid", "key", "pk", "sk", "number", "nr", "no"})
_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^\w]+|_+")


def literal(value: object) -> str | None:
    """Return the word that a value is, in its folded form; None if it is no word of the list."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    folded = re.sub(r"[\s-]+", "_", unicodedata.normalize("NFC", str(value)).strip().casefold())
    return folded if folded in LITERALS else None


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name, without accents: `HasOptedOut_email` is `has`, `opted`, `out`, `email`."""
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return tuple(word for word in (part.casefold() for part in _BOUNDARY.split(plain)) if word)


def folded_name(name: str) -> str:
    """Return the words of a name joined by underscores."""
    return "_".join(words_of(name))


def says_consent(name: str) -> bool:
    """Return whether a name says that a column is about consent, or about an objection."""
    words = words_of(name)
    run_together = "".join(words)
    return (
        bool(_CONSENT_WORDS.intersection(words))
        or any(part in run_together for part in _CONSENT_PARTS)
        or says_opposite(name)
    )


def concepts_of(name: str) -> frozenset[str]:
    """Return what a name's words stand for: `advertising`, `analytics` and others."""
    words = words_of(name)
    found = {CONCEPT_OF[word] for word in (*words, folded_name(name)) if word in CONCEPT_OF}
    # `email_marketing` is about messages: the purpose of an advertising network is another one.
    return frozenset({"messages"} if "messages" in found else found)


def is_personal(name: str) -> bool:
    """Return whether a name says that a column identifies people. Its values are then never read."""
    if says_consent(name):
        return False
    return bool(_PERSONAL_WORDS.intersection(words_of(name))) or is_id(name)


def is_id(name: str) -> bool:
    """Return whether a name is that of an id."""
    words = words_of(name)
    if says_consent(name) or CATEGORY_WORDS.intersection(words):
        return False
    return bool(words) and (words[-1] in _ID_WORDS or words[0] in {"uuid", "guid"})
