"""Names that say the opposite of consent: `HasOptedOutOfEmail`, `do_not_sell`, `unsubscribed`, `abgemeldet`.

A column with such a name is TRUE for people who object. Looks at names only, never at values.

The languages are English, and those of the largest markets in which consent to processing is law: German and French
(the GDPR's largest economies), Spanish (Spain and most of Latin America) and Portuguese (Portugal, and Brazil's LGPD).
"""

from __future__ import annotations

import re
import unicodedata

# Between the words of `optOut`, `OPTOut` and `opt_out2`.
_BOUNDARY = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z]+")
# Letters have no accents here, and words are separated by one space.
_ENGLISH = (
    r"opt(s|ed|ing)? ?outs?|do ?not|dont|don t|dnc|dnt|unsub(s|bed|scri\w*)?|suppress\w*",
    r"object(ed|ing|ions?)|objects?(?= to\b)|(?<=to )object",
    # A block of a city, of a page or of a chain has a number or a name.
    r"block(s|ed|ing|ed ?list|list|listed)?(?! (ids?|no|nr|number|name|code|size|hash|height|time|type|street)\b)",
    r"black ?list\w*|deny ?list\w*|revo[ck]\w*|withdr[ae]w\w*|refus(e|ed|es|al|als|ing)|reject\w*|declin\w*",
    r"den(y|ied|ies)|exclu(de|des|ded|sions?)",
)
_GERMAN = (
    r"abgemeldet\w*|abmeld\w*|abbestell\w*|(werbe)?widerspr(uch|och|ech|icht)\w*|widerruf\w*|abgelehnt\w*|ablehn\w*",
    r"gesperrt\w*|(werbe|mail|kontakt)?sperr(e|en|liste|vermerk|kennzeichen)|sperr ?liste|ausgeschlossen\w*|ausschluss",
    r"verweiger\w*|unterdruckt\w*|keine?n? (werbung|newsletter|mails?|einwilligung|zustimmung|weitergabe|kontakt)",
)
_FRENCH = (
    r"desinscri\w*|desabonn\w*|opposition|oppose(e|s|es)?|refus(ee|ees)?|bloqu(e|ee|es|ees)|exclu(e|s|es)?",
    r"revoqu\w*|rejet(e|ee|es|ees)?|retrait (du )?consentement|consentement retire|ne pas \w+|liste (noire|rouge)",
)
_SPANISH = (
    r"desuscri\w*|dad[oa] de baja|de baja|baja (email|correo|newsletter|publicidad|marketing)|oposicion|se opon\w*",
    r"rechaz\w*|rechac\w*|negad[oa]s?|revoc\w*|retirad[oa]|bloquead[oa]s?|excluid[oa]s?|suprimid[oa]s?|lista negra",
    r"no (enviar|contactar|llamar|vender|molestar|acept\w*|autoriza\w*)",
)
_PORTUGUESE = (
    r"descadastr\w*|desinscrev\w*|cancelou|oposicao|se opo(e|s)|rejeit\w*|recus(a|ad[oa]s?|ou)|negou|revog\w*",
    r"bloqueio|nao (enviar|contatar|contactar|ligar|vender|perturbe|autoriz\w*|aceit\w*)",
)
_WORDS = re.compile(rf"\b({'|'.join((*_ENGLISH, *_GERMAN, *_FRENCH, *_SPANISH, *_PORTUGUESE))})\b")
# Within words that nothing separates: `HASOPTEDOUTOFEMAIL`, `emailoptout`, `newsletterabgemeldet`.
_RUN_TOGETHER = re.compile(
    r"(?<!ad)opt(s|ed|ing)?out|donot(?=[a-z])|unsubscri|suppressed|suppression|objected|objection|blocked|blocklist"
    r"|revoked|revocation|withdrawn|withdrew|abgemeldet|abbestellt|widersprochen|widerspruch|widerrufen|desabonne"
    r"|desinscri|desuscri|descadastr"
)
# `not_opted_out` and `noobjection` say the opposite of the opposite.
_NEGATED = re.compile(
    r"(\b(not|no|never|without|non|un|nicht|kein|keine|keinen|nie|ohne|sans|pas|jamais|sin|nunca|sem|nao) ?|not|no|un)$"
)
# `ads_object` is an objection, `consent_object` a document.
_LAST = re.compile(r"(?<!consent)(?<!preference)(?<!preferences)(?<!integrations)(?<!json) object$")


def says_opposite(name: str) -> bool:
    """Return whether a name says that a person objects."""
    # Accents are often left out: `désabonné`, `desabonne`.
    letters = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    text = _BOUNDARY.sub(" ", letters).strip().casefold()
    if _LAST.search(text) is not None:
        return True
    found = [*_WORDS.finditer(text), *_RUN_TOGETHER.finditer(text)]
    return any(_NEGATED.search(text[: match.start()]) is None for match in found)
