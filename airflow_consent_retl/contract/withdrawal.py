"""The choice of what happens at a destination to a person who is removed, checked against what the vendor offers."""

from __future__ import annotations

from collections.abc import Mapping


def wrong_withdrawal(on_withdrawal: object, choices: Mapping[str, str]) -> list[str]:
    """Return the errors in a choice; none where it is one of the choices.

    Args:
        on_withdrawal: from the DAG.
        choices: the destination's choices, each with one sentence for people.
    """
    if isinstance(on_withdrawal, str) and on_withdrawal in choices:
        return []
    # Not at the top: a DAG file that imports an operator loads no engine.
    from airflow_consent_retl.near import suggestion

    offered = "; ".join(f"`{choice}`: {sentence}" for choice, sentence in choices.items())
    near = suggestion(on_withdrawal, choices) if isinstance(on_withdrawal, str) else ""
    return [f"on_withdrawal is not one of the destination's choices{near} ({offered})"]


def wrong_companions(
    chosen: object, companions: Mapping[str, tuple[str, object]], *, option: str = "on_withdrawal"
) -> list[str]:
    """Return the errors in options that belong to one choice, which needs them.

    Args:
        chosen: from the DAG.
        companions: by choice, the option's name and its value.
        option: with the choice.
    """
    return [
        f'{name} is for {option}="{choice}", which needs it'
        for choice, (name, value) in companions.items()
        if bool(value) is not (chosen == choice)
    ]
