"""The decision whether one subject's row may go to one destination, with every reason for a denial: `decide`.

Pure: the time is passed in, and every faster path is proved equal to `decide`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.policy import requirement_of
from airflow_consent_retl.consent.regime import Regime
from airflow_consent_retl.consent.signals import ConsentStatus
from airflow_consent_retl.fields.field_values import answer_name

if TYPE_CHECKING:
    from airflow_consent_retl.consent.policy import Category, CategoryId, ConsentPolicy


class SubjectStatus(StrEnum):
    """The status of a row's id. Only an `identified` subject can be permitted anything."""

    IDENTIFIED = "identified"
    MISSING_ID = "missing_id"
    DUPLICATE_ID = "duplicate_id"
    # The person is on the deployment's own suppression list.
    FORGOTTEN = "forgotten"


class SubjectCode(IntEnum):
    """A subject's status as a number, for computations in Python and SQL."""

    IDENTIFIED = 0
    MISSING_ID = 1
    DUPLICATE_ID = 2
    FORGOTTEN = 3

    @property
    def status(self) -> SubjectStatus:
        """The status."""
        return SubjectStatus[self.name]


class Ground(StrEnum):
    """The ground on which a row is permitted."""

    CONSENTED = "consented"
    # A person who did not object, under a regime in which that is enough.
    NOT_OPTED_OUT = "not_opted_out"
    EXEMPT = "exempt"
    UNMAPPED = "unmapped"
    NOT_REQUIRED = "not_required"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Everything in a row that a decision rests on, other than its consent to categories.

    Args:
        region: the person's region; None: unknown.
        gpc: `denied`: the person sends Global Privacy Control; `invalid`: it cannot be read; `linked_no` and
            `linked_doubt`: likewise of one who is linked to them. Any other status has no effect.
        suppression: `granted`: the person is on no suppression list, or there is none; any other status denies.
        switches: the row's own switches by destination: any status but `granted` denies. A destination without a
            switch is not denied.
    """

    region: str | None = None
    gpc: ConsentStatus = ConsentStatus.UNKNOWN
    suppression: ConsentStatus = ConsentStatus.GRANTED
    switches: Mapping[str, ConsentStatus] = field(default_factory=dict, hash=False)

    @property
    def objects(self) -> bool:
        """Whether Global Privacy Control denies every category that is not exempt."""
        return self.gpc in _OBJECTIONS


_OBJECTIONS = frozenset(
    {ConsentStatus.DENIED, ConsentStatus.INVALID, ConsentStatus.LINKED_NO, ConsentStatus.LINKED_DOUBT}
)
NO_CIRCUMSTANCES = Circumstances()


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """One reason for a denial. It never contains a value of a row.

    The codes are `C0004:denied` (a category's id and status); `gpc:…`, `suppression:…` and `row_switch:…` with their
    status; `missing_id`, `duplicate_id`, `forgotten`, `unmapped_destination` and `misspelt_destination`.
    """

    code: str

    def __str__(self) -> str:
        return self.code


@dataclass(frozen=True, slots=True)
class Permitted:
    """The row may go. `categories` are the categories that the destination requires, sorted; empty if it needs none."""

    ground: Ground
    categories: tuple[CategoryId, ...] = ()


@dataclass(frozen=True, slots=True)
class Denied:
    """The row may not go, for all of these reasons, sorted."""

    reasons: tuple[Reason, ...]

    def __post_init__(self) -> None:
        if not self.reasons:
            raise ValueError("a denial needs a reason")


Decision = Permitted | Denied


def decide(
    policy: ConsentPolicy,
    destination: str,
    consent: Mapping[CategoryId, ConsentStatus],
    *,
    subject: SubjectStatus = SubjectStatus.IDENTIFIED,
    circumstances: Circumstances = NO_CIRCUMSTANCES,
    at: datetime,
) -> Decision:
    """Decide whether a subject's row may go to a destination.

    `consent` is the subject's status by category id; a category that is not in it is `unknown`. `at` is the time of the
    decision, with a zone; raises `ValueError` without a zone. A destination that the policy does not name is denied if
    it resembles a destination of the policy, whatever the setting for unmapped destinations.
    """
    if at.utcoffset() is None:
        raise ValueError("`at` needs a time zone")
    asked = requirement_of(policy, destination)
    codes: list[str] = []
    for match, group in asked.groups:
        refused = [
            f"{category.id}:{status}"
            for category in group
            if not category.regime_in(circumstances.region).permits(status := _status(consent, category.id))
        ]
        if match == "all" or len(refused) == len(group):
            codes += refused
    if asked.rule.consent_required and not asked.required and policy.unmapped_destinations != "permit":
        codes.append("unmapped_destination")
    if asked.misspelt is not None:
        codes.append("misspelt_destination")
    if subject is not SubjectStatus.IDENTIFIED:
        codes.append(str(subject))
    codes += _overruled(destination, asked.required, circumstances)
    if codes:
        return Denied(tuple(Reason(code) for code in sorted(set(codes))))
    if asked.required:
        return Permitted(_ground(asked.required, consent, circumstances.region), asked.categories)
    return Permitted(Ground.UNMAPPED if asked.rule.consent_required else Ground.NOT_REQUIRED)


def withheld_fields(
    policy: ConsentPolicy,
    destination: str,
    consent: Mapping[CategoryId, ConsentStatus],
    *,
    circumstances: Circumstances = NO_CIRCUMSTANCES,
) -> tuple[str, ...]:
    """Return the fields that are withheld from a destination that may receive the row, sorted.

    A guarded field is withheld unless every category that guards it permits it.
    """
    withheld: set[str] = set()
    for category, fields in requirement_of(policy, destination).guarded_fields:
        if _objected(category, circumstances) or not category.regime_in(circumstances.region).permits(
            _status(consent, category.id)
        ):
            withheld.update(fields)
    return tuple(sorted(withheld))


def answers_withheld(
    policy: ConsentPolicy,
    categories: Collection[str],
    consent: Mapping[CategoryId, ConsentStatus],
    *,
    circumstances: Circumstances = NO_CIRCUMSTANCES,
) -> tuple[str, ...]:
    """Return, by `answer_name`, the categories whose yes may not be shared with a vendor: the person did not give it.

    INVARIANT: only an explicit yes is shared. A regime or an alternative that permits sending without one is no yes.
    """
    withheld = []
    for name in sorted(categories):
        category = policy.category(name)
        is_granted = category is not None and (
            _status(consent, category.id) is ConsentStatus.GRANTED and not _objected(category, circumstances)
        )
        if not is_granted:
            withheld.append(answer_name(name))
    return tuple(withheld)


def _overruled(destination: str, required: tuple[Category, ...], circumstances: Circumstances) -> list[str]:
    """Return the reasons that deny regardless of the person's consent."""
    codes = []
    if any(_objected(category, circumstances) for category in required):
        codes.append(f"gpc:{circumstances.gpc}")
    if circumstances.suppression is not ConsentStatus.GRANTED:
        codes.append(f"suppression:{circumstances.suppression}")
    switch = circumstances.switches.get(destination, ConsentStatus.GRANTED)
    if switch is not ConsentStatus.GRANTED:
        codes.append(f"row_switch:{switch}")
    return codes


def _objected(category: Category, circumstances: Circumstances) -> bool:
    return circumstances.objects and category.regime_in(circumstances.region) is not Regime.EXEMPT


def _ground(required: tuple[Category, ...], consent: Mapping[CategoryId, ConsentStatus], region: str | None) -> Ground:
    """Return the weakest ground of a permission by categories."""
    grounds = {
        Ground.EXEMPT
        if category.regime_in(region) is Regime.EXEMPT
        else Ground.CONSENTED
        if _status(consent, category.id) is ConsentStatus.GRANTED
        else Ground.NOT_OPTED_OUT
        for category in required
        if category.regime_in(region).permits(_status(consent, category.id))
    }
    return next(ground for ground in (Ground.EXEMPT, Ground.NOT_OPTED_OUT, Ground.CONSENTED) if ground in grounds)


def _status(consent: Mapping[CategoryId, ConsentStatus], category: CategoryId) -> ConsentStatus:
    status = consent.get(category, ConsentStatus.UNKNOWN)
    # A raw value in place of a status must neither grant nor reach a reason.
    return status if isinstance(status, ConsentStatus) else ConsentStatus.INVALID
