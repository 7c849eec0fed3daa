"""How our shop records consent: `E+ P- S?` allows e-mail, refuses telephone, and leaves text messages open."""

from dataclasses import dataclass

from airflow_consent_retl.consent import ConsentStatus, DocumentSignal

_ANSWERS = {"+": ConsentStatus.GRANTED, "-": ConsentStatus.DENIED, "?": ConsentStatus.UNKNOWN}


@dataclass(frozen=True, slots=True)
class ContactFlags(DocumentSignal):
    """One channel of a text column with contact flags: `ContactFlags("contact", channel="E")`."""

    column: str
    channel: str

    def read(self, text: str) -> ConsentStatus:
        """Return what the flags say. Whatever is not exactly a list of flags is invalid, and denies."""
        flags = text.split(" ")
        channels = [flag[:1] for flag in flags]
        if any(len(flag) != 2 or flag[1] not in _ANSWERS for flag in flags) or len(set(channels)) < len(channels):
            return ConsentStatus.INVALID
        answers = dict(zip(channels, flags, strict=True))
        return _ANSWERS[answers[self.channel][1]] if self.channel in answers else ConsentStatus.UNKNOWN
