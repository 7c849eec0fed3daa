"""The options of destinations that store people by jobs, with states of channels of messages such as e-mail."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.errors import ConfigurationError, Problem
from airflow_consent_retl.fields.field_values import Constant, other_than_answers, value_of

if TYPE_CHECKING:
    from airflow_consent_retl.contract.checked_options import OptionCheck

UNSUBSCRIBE_CHANNELS = "unsubscribe_channels"


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of messages.

    Args:
        name: such as `email`; one word, for the id of a request.
        address: the field with the address to which the state belongs.
        place: the object in the vendor's records, such as `subscriptions.email.marketing`.
    """

    name: str
    address: str
    place: str

    @property
    def state(self) -> str:
        """The field with the person's state."""
        return f"{self.place}.consent"

    @property
    def consented_at(self) -> str:
        """The field with the time at which the person agreed."""
        return f"{self.place}.consented_at"


def _channels(options: ChannelOptions) -> Iterator[Problem]:
    names = [one.name for one in options.channels]
    if unknown := [str(one) for one in options.unsubscribes if one not in names]:
        yield Problem("unsubscribes", f"unsubscribes has {', '.join(unknown)}: the channels are {', '.join(names)}")


@parameter_class
class ChannelOptions(HttpOptions):
    """The channels that a removal ends, and the wait for a job whose people have states.

    Attributes:
        channels: of the vendor.
        granted, denied: its words for the state of a person who agreed, and of one who did not.
        ending: the choices of `on_withdrawal` that end every channel of a person.

    Args:
        unsubscribes: the names of channels, for `unsubscribe_channels`.
        job_wait_s: the most seconds that a batch with states waits for its job. The states follow it; a batch whose job
            takes longer is uncertain, and is sent again.

    Raises:
        ConfigurationError: values are out of their ranges; the message names all of them.
    """

    channels: ClassVar[tuple[Channel, ...]] = ()
    granted: ClassVar[str] = "SUBSCRIBED"
    denied: ClassVar[str] = "UNSUBSCRIBED"
    ending: ClassVar[Collection[str]] = ("privacy_delete",)
    companions: ClassVar[Mapping[str, str]] = {UNSUBSCRIBE_CHANNELS: "unsubscribes"}
    positive: ClassVar[tuple[str, ...]] = ("job_wait_s",)
    checks: ClassVar[tuple[OptionCheck, ...]] = (_channels,)

    on_withdrawal: str
    unsubscribes: Sequence[str] = ()
    job_wait_s: float = 1800

    @classmethod
    def wrong_states(cls, names: Collection[str], own: Mapping[str, Any]) -> list[str]:
        """Return the errors in the fields of a load that are about states.

        Args:
            names: of the fields.
            own: the options by name.
        """
        wrong, ended = [], own["unsubscribes"]
        ends_all = own["on_withdrawal"] in cls.ending
        for one in cls.channels:
            if one.state not in names:
                continue
            missing = [f"`{name}`" for name in (one.address, one.consented_at) if name not in names]
            if missing:
                wrong.append(f"`{one.state}` needs {' and '.join(missing)} among the fields")
            if not ends_all and (not isinstance(ended, Sequence) or one.name not in ended):
                # Otherwise a person who was subscribed by this load would stay so after a withdrawal.
                wrong.append(
                    f'`{one.state}` subscribes people: use on_withdrawal="{UNSUBSCRIBE_CHANNELS}" with "{one.name}" in '
                    f"unsubscribes{''.join(f', or {choice}' for choice in sorted(cls.ending))}"
                )
        return wrong

    @classmethod
    def check_states(cls, fields: object, own: Mapping[str, Any]) -> None:
        """Check the states of a load when a DAG file is parsed: each is a person's own answer, at their own time.

        Args:
            fields: of the load; a template, or the output of a task, is known when the task runs.
            own: the options by name.

        Raises:
            ConfigurationError: with all errors.
        """
        if not isinstance(fields, Mapping):
            return
        states = [one.state for one in cls.channels]
        wrong = cls.wrong_states(list(fields), own) + [
            f'`{name}` has to be each person\'s own answer: consent("C0005", granted="{cls.granted}")'
            for name in other_than_answers(fields, states, granted=cls.granted, otherwise={None, cls.denied})
        ]
        for one in cls.channels:
            if isinstance(text := fields.get(one.consented_at), str) and isinstance(value_of(text), Constant):
                wrong.append(f"`{one.consented_at}` has to be the time of each person's own consent, a column")
        if wrong:
            raise ConfigurationError("; ".join(wrong))

    def ended_channels(self) -> list[Channel]:
        """Return the channels of `unsubscribes`."""
        return [one for one in self.channels if one.name in self.unsubscribes]
