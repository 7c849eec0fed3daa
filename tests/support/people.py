"""People whose every personal value is a canary, with every kind of consent value."""

from __future__ import annotations

from dataclasses import dataclass

# In every personal value of the warehouse, and in nothing else.
CANARY = "canary7f3a"


@dataclass(frozen=True)
class Person:
    """One row of the model."""

    number: int
    analytics_ok: bool | None
    ads: str | None
    preferences: str | None

    @property
    def user_id(self) -> str:
        return f"{CANARY}-id-{self.number:04d}"

    @property
    def row(self) -> tuple[object, ...]:
        name = f"{CANARY} Näme {self.number}"
        return (
            self.user_id,
            f"{CANARY}-{self.number}@example.com",
            name,
            self.analytics_ok,
            self.ads,
            self.preferences,
        )

    @property
    def recipients(self) -> set[str]:
        """The decision, written a second time, by hand, for this one policy."""
        analytics, advertising = self.analytics_ok is True, self.ads == "yes"
        email = self.preferences == '{"categoryPreferences": {"C0007": true}}'
        allowed = {"lake": analytics, "webhook": analytics and advertising, "crm_table": email}
        return {name for name, is_allowed in allowed.items() if is_allowed}


def people() -> list[Person]:
    ads = ["yes", "no", None, "Yes", f"{CANARY} garbage"]
    preferences = [
        '{"categoryPreferences": {"C0007": true}}',
        '{"categoryPreferences": {"C0007": false}}',
        '{"categoryPreferences": {}}',
        '{"categoryPreferences": {"C0007": "true"}}',
        f'{{"categoryPreferences": {{"C0007": {CANARY}',
        None,
    ]
    combinations = [(a, b, c) for a in (True, False, None) for b in ads for c in preferences]
    return [Person(number, *combination) for number, combination in enumerate(combinations)]


def permitted_ids(destination: str) -> list[str]:
    return sorted(person.user_id for person in people() if destination in person.recipients)
