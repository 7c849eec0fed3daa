"""The proof in a form that this Airflow showed it to the user who posts it: a form on another site has none.

It is signed with the key of Airflow's API server, `[api] secret_key`, and ends after an hour.
"""

from __future__ import annotations

from typing import Final

from itsdangerous import BadSignature, URLSafeTimedSerializer

from airflow_consent_retl.compat import conf

_VALID_S: Final = 3_600
_SALT: Final = "airflow-consent-retl form"


def form_proof(*shown: str) -> str:
    """Return the proof for a form, of the user's name and of everything that the form is about."""
    return str(_serializer().dumps(shown))


def is_proof(proof: str, *posted: str) -> bool:
    """Return whether a proof is that of the user who posts a form, and of what they post."""
    try:
        shown = _serializer().loads(proof, max_age=_VALID_S)
    except BadSignature:
        return False
    return bool(shown == [*posted])


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(conf.get_mandatory_value("api", "secret_key"), salt=_SALT)
