"""Some refusals quote a part of the object as the server's own structures: their fields, in order, with zero values.

`_TYPES` names the fields of those structures. What follows a name is its zero value: `s` an empty text, `b` false,
`i` 0, `*` null, `.T` a structure T, `*T` a reference to one, `[T]` a list of them, `&` a number or text, 0 by itself.
"""

import json
import re
from functools import cache
from typing import Any

from trimtab.local.objects import Object

_TYPES = """
PodSpec Volumes[Volume] InitContainers[Container] Containers[Container] EphemeralContainers* RestartPolicy:s
 TerminationGracePeriodSeconds* ActiveDeadlineSeconds* DNSPolicy:s NodeSelector* ServiceAccountName:s
 AutomountServiceAccountToken* NodeName:s SecurityContext*PodSecurityContext ImagePullSecrets[LocalObjectReference]
 Hostname:s Subdomain:s SetHostnameAsFQDN* Affinity*Affinity SchedulerName:s Tolerations[Toleration]
 HostAliases[HostAlias] PriorityClassName:s Priority* PreemptionPolicy* DNSConfig*DNSConfig ReadinessGates*
 RuntimeClassName* Overhead* EnableServiceLinks* TopologySpreadConstraints[TopologySpreadConstraint] OS*
 SchedulingGates[SchedulingGate] ResourceClaims* Resources*ResourceRequirements HostnameOverride* SchedulingGroup*
PodSecurityContext HostNetwork:b HostPID:b HostIPC:b ShareProcessNamespace* HostUsers* SELinuxOptions*
 WindowsOptions* RunAsUser* RunAsGroup* RunAsNonRoot* SupplementalGroups* SupplementalGroupsPolicy* FSGroup*
 FSGroupChangePolicy* Sysctls* SeccompProfile*SeccompProfile AppArmorProfile* SELinuxChangePolicy*
Container Name:s Image:s Command* Args* WorkingDir:s Ports[ContainerPort] EnvFrom[EnvFromSource] Env[EnvVar]
 Resources.ResourceRequirements ResizePolicy* RestartPolicy* RestartPolicyRules* VolumeMounts[VolumeMount]
 VolumeDevices* LivenessProbe*Probe ReadinessProbe*Probe StartupProbe*Probe Lifecycle*Lifecycle
 TerminationMessagePath:s TerminationMessagePolicy:s ImagePullPolicy:s SecurityContext*SecurityContext Stdin:b
 StdinOnce:b TTY:b
ResourceRequirements Limits* Requests* Claims*
ContainerPort Name:s HostPort:i ContainerPort:i Protocol:s HostIP:s
EnvFromSource Prefix:s ConfigMapRef*LocalSource SecretRef*LocalSource
LocalSource Name:s Optional*
EnvVar Name:s Value:s ValueFrom*EnvVarSource
EnvVarSource FieldRef*ObjectFieldSelector ResourceFieldRef*ResourceFieldSelector ConfigMapKeyRef*KeySelector
 SecretKeyRef*KeySelector FileKeyRef*
ObjectFieldSelector APIVersion:s FieldPath:s
ResourceFieldSelector ContainerName:s Resource:s Divisor:q
KeySelector Name:s Key:s Optional*
VolumeMount Name:s ReadOnly:b RecursiveReadOnly* MountPath:s SubPath:s MountPropagation* SubPathExpr:s
Probe Exec*ExecAction HTTPGet*HTTPGetAction TCPSocket*TCPSocketAction GRPC*GRPCAction InitialDelaySeconds:i
 TimeoutSeconds:i PeriodSeconds:i SuccessThreshold:i FailureThreshold:i TerminationGracePeriodSeconds*
Lifecycle PostStart*LifecycleHandler PreStop*LifecycleHandler StopSignal*
LifecycleHandler Exec*ExecAction HTTPGet*HTTPGetAction TCPSocket*TCPSocketAction Sleep*SleepAction
ExecAction Command*
HTTPGetAction Path:s Port:& Host:s Scheme:s HTTPHeaders[HTTPHeader]
HTTPHeader Name:s Value:s
TCPSocketAction Port:& Host:s
GRPCAction Port:i Service*
SleepAction Seconds:i
SecurityContext Capabilities*Capabilities Privileged* SELinuxOptions* WindowsOptions* RunAsUser* RunAsGroup*
 RunAsNonRoot* ReadOnlyRootFilesystem* AllowPrivilegeEscalation* ProcMount* SeccompProfile*SeccompProfile
 AppArmorProfile*
Capabilities Add* Drop*
SeccompProfile Type:s LocalhostProfile*
Volume Name:s HostPath*HostPath EmptyDir*EmptyDir GCEPersistentDisk* AWSElasticBlockStore* GitRepo*
 Secret*SecretVolume NFS*NFS ISCSI* Glusterfs* PersistentVolumeClaim*ClaimVolume RBD* Quobyte* FlexVolume* Cinder*
 CephFS* Flocker* DownwardAPI*DownwardVolume FC* AzureFile* ConfigMap*ConfigMapVolume VsphereVolume* AzureDisk*
 PhotonPersistentDisk* Projected*ProjectedVolume PortworxVolume* ScaleIO* StorageOS* CSI* Ephemeral* Image*
HostPath Path:s Type*
EmptyDir Medium:s SizeLimit*
NFS Server:s Path:s ReadOnly:b
SecretVolume SecretName:s Items[KeyToPath] DefaultMode* Optional*
ConfigMapVolume Name:s Items[KeyToPath] DefaultMode* Optional*
ClaimVolume ClaimName:s ReadOnly:b
DownwardVolume Items[DownwardFile] DefaultMode*
DownwardFile Path:s FieldRef*ObjectFieldSelector ResourceFieldRef*ResourceFieldSelector Mode*
ProjectedVolume Sources[Projection] DefaultMode*
Projection Secret*ProjectedKeys DownwardAPI*DownwardVolume ConfigMap*ProjectedKeys
 ServiceAccountToken*TokenProjection ClusterTrustBundle* PodCertificate*
ProjectedKeys Name:s Items[KeyToPath] Optional*
TokenProjection Audience:s ExpirationSeconds:i Path:s
KeyToPath Key:s Path:s Mode*
LocalObjectReference Name:s
Toleration Key:s Operator:s Value:s Effect:s TolerationSeconds*
HostAlias IP:s Hostnames*
DNSConfig Nameservers* Searches* Options*
SchedulingGate Name:s
TopologySpreadConstraint MaxSkew:i TopologyKey:s WhenUnsatisfiable:s LabelSelector* MinDomains* NodeAffinityPolicy*
 NodeTaintsPolicy* MatchLabelKeys*
Affinity NodeAffinity*NodeAffinity PodAffinity*PodAffinity PodAntiAffinity*PodAffinity
NodeAffinity RequiredDuringSchedulingIgnoredDuringExecution*NodeSelector
 PreferredDuringSchedulingIgnoredDuringExecution[PreferredSchedulingTerm]
NodeSelector NodeSelectorTerms[NodeSelectorTerm]
NodeSelectorTerm MatchExpressions[NodeSelectorRequirement] MatchFields[NodeSelectorRequirement]
NodeSelectorRequirement Key:s Operator:s Values*
PreferredSchedulingTerm Weight:i Preference.NodeSelectorTerm
PodAffinity RequiredDuringSchedulingIgnoredDuringExecution[PodAffinityTerm]
 PreferredDuringSchedulingIgnoredDuringExecution[WeightedPodAffinityTerm]
PodAffinityTerm LabelSelector* Namespaces* TopologyKey:s NamespaceSelector* MatchLabelKeys* MismatchLabelKeys*
WeightedPodAffinityTerm Weight:i PodAffinityTerm.PodAffinityTerm
PodDisruptionBudgetSpec MinAvailable* Selector* MaxUnavailable* UnhealthyPodEvictionPolicy*
RoleRef APIGroup:s Kind:s Name:s
DeploymentStrategy Type:s RollingUpdate*RollingUpdate
RollingUpdate MaxUnavailable:& MaxSurge:&
ServicePort Name:s Protocol:s AppProtocol* Port:i TargetPort:& NodePort:i
Taint Key:s Value:s Effect:s TimeAdded*
ObjectReference Kind:s Namespace:s Name:s UID:s APIVersion:s ResourceVersion:s FieldPath:s
PodFailurePolicy Rules[PodFailurePolicyRule]
PodFailurePolicyRule Action:s OnExitCodes*OnExitCodes OnPodConditions[OnPodCondition]
OnExitCodes ContainerName* Operator:s Values*
OnPodCondition Type:s Status:s
SuccessPolicy Rules[SuccessPolicyRule]
SuccessPolicyRule SucceededIndexes* SucceededCount*
"""
_FIELD = re.compile(r"(?P<name>[A-Za-z]+)(?P<kind>:[sbiq&]|\*(?=\s|$)|[.*]\w+|\[\w+\])")
_ZERO: dict[str, Any] = {":s": "", ":b": False, ":i": 0, ":&": 0, ":q": "0", "*": None}
# Where the server keeps what the API has beside the security context.
_HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")


@cache
def _fields(type_: str) -> tuple[tuple[str, str, str], ...]:
    """(name in the structure, name in the API, kind) of every field of a type."""
    found = re.search(rf"^{type_} (.*(?:\n .*)*)", _TYPES, re.MULTILINE)
    if found is None:
        raise LookupError(type_)
    return tuple((m["name"], _api_name(m["name"]), m["kind"]) for m in _FIELD.finditer(found[1]))


def _api_name(name: str) -> str:
    """DNSPolicy is dnsPolicy, TTY is tty."""
    capitals = len(name) - len(name.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    small = capitals if capitals in (1, len(name)) else capitals - 1
    return name[:small].lower() + name[small:]


def structure(value: Object | None, type_: str) -> Object | None:
    """A part of an object, as its structure is encoded."""
    if value is None:
        return None
    if type_ == "PodSpec":
        host = {name: value[name] for name in _HOST_FIELDS if name in value}
        value = {**value, "securityContext": {**(value.get("securityContext") or {}), **host}}
    return {name: _encoded(value.get(api_name), kind) for name, api_name, kind in _fields(type_)}


def _encoded(value: Any, kind: str) -> Any:
    if kind in _ZERO:
        return _sorted(value) if value is not None else _ZERO[kind]
    if kind.startswith("["):
        return [structure(item, kind[1:-1]) for item in value] if value else None
    if kind.startswith("."):
        return structure(value or {}, kind[1:])
    return structure(value, kind[1:])


def _sorted(value: Any) -> Any:
    """Maps are encoded in the order of their keys."""
    return dict(sorted(value.items())) if isinstance(value, dict) else value


def shown(value: Object | None, type_: str) -> str:
    """A part of an object, as a refusal quotes it."""
    return encoded(structure(value, type_))


def encoded(value: Any) -> str:
    """Compact JSON, as Go writes it: what could be read as markup is escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def shown_template(template: Object) -> str:
    """A pod template, whose metadata keeps its names from the API."""
    metadata = template.get("metadata") or {}
    names = ("name", "generateName", "namespace", "labels", "annotations")
    head = {name: _sorted(metadata[name]) for name in names if metadata.get(name)}
    return encoded({**head, "Spec": structure(template.get("spec") or {}, "PodSpec")})


def lines(value: Object, type_: str) -> list[str]:
    """A part of an object line by line, as differences are shown."""
    return json.dumps(structure(value, type_), indent=1, ensure_ascii=False).splitlines()
