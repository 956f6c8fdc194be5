"""Who makes the Secrets that the components have declared: a Job in the cluster, the External Secrets Operator, or the site's operator."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from cdk8s_plus_34 import k8s

from infrastructure.programs import program
from kit.component import Component
from kit.installation import Installation
from kit.objects import CustomResource
from kit.place import Place
from kit.pods import PodSpec
from kit.quantities import Resources, mib, millicores

_ONLY_GIVEN_KEYS_MISSING = 3
"""The program's exit code when all is done but what the operator of the site has to give."""


class ExternalSecret(CustomResource):
    """The ExternalSecret kind of the External Secrets Operator; its `spec` is made by `providers.py`."""

    resource_version = "external-secrets.io/v1"
    resource_kind = "ExternalSecret"


@frozen
class Right:
    """What the Job may do with Secrets of one namespace on behalf of one component. No names: all, since RBAC cannot bind `create` to names."""

    folder: str
    component: str
    namespace: str
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()


@frozen
class FetchedSecret:
    """A Secret that the External Secrets Operator fetches: where it belongs, and the `spec` of its ExternalSecret."""

    folder: str
    component: str
    name: str
    namespace: str
    spec: Mapping[str, Any] = field(hash=False)


class ExternalSecrets(Component):
    """One ExternalSecret for each Secret, in the folder of the component that needs it."""

    directory = "00-secrets"

    def __init__(self, installation: Installation, place: Place, secrets: tuple[FetchedSecret, ...]) -> None:
        super().__init__(installation, "external-secrets", place)
        for secret in secrets:
            installation.add(
                self,
                f"{secret.folder}/secrets.yaml",
                ExternalSecret,
                name=secret.name,
                namespace=secret.namespace,
                labels=self.labels(secret.component),
                spec=dict(secret.spec),
            )


@frozen
class GeneratorSpec:
    """What the Job makes: its `request` (no secret in it) and its rights."""

    request: str
    rights: tuple[Right, ...]


class SecretGenerator(Component):
    """A Job that makes what is missing and never replaces what is there. Its rights stand with the components whose Secrets it makes."""

    directory = "00-secrets"
    config_directory = "secrets"

    def __init__(self, installation: Installation, place: Place, spec: GeneratorSpec) -> None:
        super().__init__(installation, "secret-generator", place)
        account = self.name
        self.add("job.yaml", k8s.KubeServiceAccount, account, automount_service_account_token=False)
        for right_of in dict.fromkeys((right.folder, right.component, right.namespace) for right in spec.rights):
            rights = [right for right in spec.rights if (right.folder, right.component, right.namespace) == right_of]
            self._role(*right_of, rights, account)
        container = program(self, "secrets", "generate", spec.request, Resources(millicores(50), mib(64), mib(256)), asks_api=True)
        pod = PodSpec(containers=(container,), service_account=account, mounts_token=True, restart_policy="Never")
        job = self.job("job.yaml", self.name, pod, part=self.name, backoff_limit=20, give_up_on=(_ONLY_GIVEN_KEYS_MISSING,))
        self.calls_api_server(job.pods)

    def _role(self, folder: str, component: str, namespace: str, rights: list[Right], account: str) -> None:
        name, file = f"make-secrets-of-{component}", f"{folder}/secrets.yaml"
        rules = [
            k8s.PolicyRule(api_groups=[""], resources=["secrets"], verbs=list(right.verbs), resource_names=list(right.names) or None)
            for right in rights
        ]
        labels = self.labels(component)
        self.installation.add(self, file, k8s.KubeRole, name=name, namespace=namespace, labels=labels, rules=rules)
        self.installation.add(
            self,
            file,
            k8s.KubeRoleBinding,
            name=name,
            namespace=namespace,
            labels=labels,
            role_ref=k8s.RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name=name),
            subjects=[k8s.Subject(kind="ServiceAccount", name=account, namespace=self.namespace)],
        )
