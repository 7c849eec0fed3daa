"""Names that say the opposite of consent: `HasOptedOutOfEmail`, `do_not_sell`, `unsubscribed`.

A column with such a name is TRUE for people who object. Looks at names only, never at values.
"""

from __future__ import annotations

import re
import unicodedata

# Between the words of `optOut`, `OPTOut` and `opt_out2`.
_BOUNDARY = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z]+")
_WORDS = re.compile(
    r"\b(opt(s|ed|ing)? ?outs?|do ?not|dont|don t|dnc|dnt|unsub\w*|suppress\w*|object(ed|ing|ions?)|objects?(?= to\b)"
    r"|(?<=to )object|block(s|ed|ing|ed ?list|list|listed)?|black ?list\w*|deny ?list\w*|revo[ck]\w*|withdr[ae]w\w*"
    r"|refus\w*|reject\w*|declin\w*|den(y|ied|ies)|exclu(de|des|ded|sions?))\b"
)
# Within words that nothing separates: `HASOPTEDOUTOFEMAIL`, `emailoptout`.
_RUN_TOGETHER = re.compile(
    r"(?<!ad)opt(s|ed|ing)?out|donot(?=[a-z])|unsubscri|suppressed|suppression|objected|objection|blocked|blocklist"
    r"|revoked|revocation|withdrawn|withdrew"
)
# `not_opted_out` and `noobjection` say the opposite of the opposite.
_NEGATED = re.compile(r"(\b(not|no|never|without|non|un) ?|not|no|un)$")
# `ads_object` is an objection, `consent_object` a document.
_LAST = re.compile(r"(?<!consent)(?<!preference)(?<!preferences)(?<!integrations)(?<!json) object$")


def says_opposite(name: str) -> bool:
    """Return whether a name says that a person objects."""
    text = _BOUNDARY.sub(" ", unicodedata.normalize("NFKC", name)).strip().casefold()
    if _LAST.search(text) is not None:
        return True
    found = [*_WORDS.finditer(text), *_RUN_TOGETHER.finditer(text)]
    return any(_NEGATED.search(text[: match.start()]) is None for match in found)
