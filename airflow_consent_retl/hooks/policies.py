"""The hook and the reader of the consent policy: from a Variable, a connection, a file or the DAG itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, ObjectStoragePath

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.central_policy import INLINE, PolicySource, binds, central_policy, source_in_force
from airflow_consent_retl.hooks.connection_forms import POLICY_FORM, field_behaviour, flask_fields
from airflow_consent_retl.hooks.lookups import connection_named, variable_named
from airflow_consent_retl.storage.local_path import local_path

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentPolicy


class ConsentPolicyHook(BaseHook):
    """A hook for connections of type `consentpolicy`, which have a policy document in their field `policy`.

    The type's earlier name, `consent_policy`, is read as well.

    Args:
        policy_conn_id: the connection.
    """

    conn_name_attr = "policy_conn_id"
    default_conn_name = "consent_policy_default"
    conn_type = "consentpolicy"
    hook_name = "Consent policy"

    def __init__(self, policy_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.policy_conn_id = policy_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's fields, for versions of Airflow that build forms with Flask."""
        return flask_fields(POLICY_FORM)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Hide every field except the policy."""
        return field_behaviour(POLICY_FORM)

    def get_conn(self) -> ConsentPolicy:
        """Return the policy.

        Raises:
            ConfigurationError: the connection has no policy.
            PolicyError: the document is wrong.
        """
        from airflow_consent_retl.consent import parse_policy

        # The extra is read as an object only to find the document. The document itself stays text, so that
        # repeated keys can still be detected.
        policy = connection_named(self.policy_conn_id).extra_dejson.get("policy")
        if policy and isinstance(policy, Mapping):
            # INVARIANT: repeated keys of a policy are seen. In an object they are lost before anyone can see them.
            raise ConfigurationError(
                f"connection `{self.policy_conn_id}` has its policy as an object, which hides repeated keys: put the "
                "document as text into the field `policy` of the extra"
            )
        if not isinstance(policy, str) or not policy:
            raise ConfigurationError(
                f"connection `{self.policy_conn_id}` has no policy: put it in the field `policy` of the extra"
            )
        return parse_policy(policy)

    def test_connection(self) -> tuple[bool, str]:
        """Check the policy, for the test button of the connection's form."""
        from airflow_consent_retl.errors import PermanentError

        try:
            policy = self.get_conn()
        except PermanentError as error:
            return False, str(error)
        return True, f"{len(policy.categories)} categories, {len(policy.destinations)} destinations, {policy.digest}"


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy and the place that it was read from.

    Args:
        policy: the policy.
        source: `variable:…`, `connection:…`, `file:…` or `inline`.
        waiting: the policy that is there now and waits for an approval, while `policy` holds; None: there is none.
    """

    policy: ConsentPolicy
    source: str
    waiting: ConsentPolicy | None = None

    @property
    def is_central(self) -> bool:
        """Whether it is the deployment's."""
        return self.source == central_policy()


def policy_in_force(declared: PolicySource | None) -> LoadedPolicy:
    """Read the policy that a task is bound by. Every operator gets its policy here, and nowhere else.

    It is recorded in the deployment's archive of policies. Where policies need an approval and this one has none, the
    policy that was in force before is returned.

    Args:
        declared: the task's own `policy`; None: it names none.

    Raises:
        ConfigurationError: the task names another policy than the deployment's, there is none at all, or the first
            one of a place was not approved.
        RefusedError: the deployment's archive of policies was changed.
        PolicyError, SecretsUnavailableError: as `read_policy`.
    """
    from airflow_consent_retl.hooks.approving import in_force

    loaded = read_policy(source_in_force(declared))
    policy, waiting = in_force(loaded.policy, loaded.source)
    return LoadedPolicy(policy, loaded.source, waiting)


def binding_policy() -> LoadedPolicy | None:
    """Read the policy that every DAG has to use; None where each DAG may have its own. Errors as `read_policy`."""
    return policy_in_force(None) if binds() else None


def read_policy(source: PolicySource) -> LoadedPolicy:
    """Read a policy, whether or not a task may use it. Its source is read at every call.

    Args:
        source: `variable:<key>`, `connection:<conn_id>`, `file:<path or ObjectStoragePath URI>`, or the document.

    Raises:
        ConfigurationError: the Variable, connection or file does not exist, the kind of source is unknown, or the
            source is empty. There is no default.
        PolicyError: the document is wrong. The error contains every problem.
        SecretsUnavailableError: Airflow, or a secrets backend, does not answer; a task is retried.
    """
    from airflow_consent_retl.consent import parse_policy

    if isinstance(source, Mapping):
        return LoadedPolicy(parse_policy(source), INLINE)
    if not isinstance(source, str):
        raise ConfigurationError(f"policy: expected a text or a document, got {type(source).__name__}")
    scheme, colon, place = source.partition(":")
    if not colon or not place:
        raise ConfigurationError(_SCHEMES)
    if scheme == "variable":
        return LoadedPolicy(parse_policy(_variable(place, source)), source)
    if scheme == "connection":
        return LoadedPolicy(ConsentPolicyHook(place).get_conn(), source)
    if scheme == "file":
        return LoadedPolicy(parse_policy(_file(source if place.startswith("//") else place)), source)
    raise ConfigurationError(_SCHEMES)


_SCHEMES = "policy: expected `variable:<key>`, `connection:<conn_id>`, `file:<path>` or the document itself"


def _variable(key: str, source: str) -> str:
    asked_by = "`[consent_retl] policy`" if source == central_policy() else f'`policy="{source}"`'
    document = variable_named(key, asked_by=asked_by)
    if not isinstance(document, str) or not document.strip():
        raise ConfigurationError(f"Variable `{key}` is empty, expected a policy document")
    return document


def _file(path: str) -> bytes:
    try:
        local = local_path(path) if "://" in path else path
        content: bytes = ObjectStoragePath(path).read_bytes() if local is None else Path(local).read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigurationError(f"policy file `{path}` does not exist") from None
    except (ValueError, ImportError) as error:
        raise ConfigurationError(f"policy file `{path}` cannot be opened: {error}") from None
    return content
