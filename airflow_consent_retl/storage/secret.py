"""The secret of a deployment, from which the keys of digests and of signatures are derived."""

from __future__ import annotations

import hashlib

from airflow_consent_retl.errors import ConfigurationError

_MIN_CHARACTERS = 32


class Secret:
    """A secret text: its key, and an id that identifies the key without revealing it.

    Raises:
        ConfigurationError: the text is shorter than 32 characters.
    """

    def __init__(self, text: str) -> None:
        if len(text) < _MIN_CHARACTERS:
            raise ConfigurationError(
                f"`[consent_retl] digest_key` has {len(text)} characters, it needs {_MIN_CHARACTERS}"
            )
        self.key = hashlib.sha256(text.encode()).digest()
        self.key_id = hashlib.blake2s(b"key id", key=self.key, digest_size=8).hexdigest()
