"""The messages that are read from protobuf: field numbers, as in the published .proto files, with names and types.

A field is (name, type). Types: string, bytes, int, bool, raw, or a message of this table. `count` and `flag` are int
and bool whose zero means that nobody set them. In brackets it repeats, in braces it is a map from strings, in angle
brackets its fields stand in the outer object. None skips a field that the server decides.
"""

from collections.abc import Mapping

Field = tuple[str, str] | None
Fields = Mapping[int, Field]


def _object(*fields: tuple[str, str], status: int | None = None) -> dict[int, Field]:
    """An object's message: metadata, then these fields, then what is the server's to say."""
    out: dict[int, Field] = {1: ("metadata", "ObjectMeta"), **dict(enumerate(fields, start=2))}
    return out if status is None else {**out, status: None}


def _strings(*names: str) -> dict[int, Field]:
    return {number: (name, "string") for number, name in enumerate(names, start=1)}


ENVELOPE: Fields = {1: ("typeMeta", "TypeMeta"), 2: ("raw", "raw"), 3: None, 4: None}

_SHARED: dict[str, Fields] = {
    "TypeMeta": _strings("apiVersion", "kind"),
    "ObjectMeta": {
        1: ("name", "string"),
        2: ("generateName", "string"),
        3: ("namespace", "string"),
        4: None,
        5: None,
        6: None,
        7: None,
        8: None,
        11: ("labels", "{string}"),
        12: ("annotations", "{string}"),
        13: ("ownerReferences", "[OwnerReference]"),
        14: ("finalizers", "[string]"),
    },
    "OwnerReference": {
        1: ("kind", "string"),
        3: ("name", "string"),
        4: ("uid", "string"),
        5: ("apiVersion", "string"),
        6: ("controller", "bool"),
        7: ("blockOwnerDeletion", "bool"),
    },
    "LabelSelector": {1: ("matchLabels", "{string}"), 2: ("matchExpressions", "[LabelSelectorRequirement]")},
    "LabelSelectorRequirement": {1: ("key", "string"), 2: ("operator", "string"), 3: ("values", "[string]")},
    "LocalObjectReference": _strings("name"),
    "DeleteOptions": {
        1: ("gracePeriodSeconds", "int"),
        2: ("preconditions", "Preconditions"),
        3: ("orphanDependents", "bool"),
        4: ("propagationPolicy", "string"),
        5: ("dryRun", "[string]"),
    },
    "Preconditions": _strings("uid", "resourceVersion"),
}
_PLAIN: dict[str, Fields] = {
    "ConfigMap": _object(("data", "{string}"), ("binaryData", "{bytes}"), ("immutable", "bool")),
    "Secret": _object(("data", "{bytes}"), ("type", "string"), ("stringData", "{string}"), ("immutable", "bool")),
    "Namespace": {1: ("metadata", "ObjectMeta"), 2: None, 3: None},
    "ServiceAccount": {1: ("metadata", "ObjectMeta"), 4: ("automountServiceAccountToken", "bool")},
    "PriorityClass": _object(
        ("value", "int"), ("globalDefault", "flag"), ("description", "string"), ("preemptionPolicy", "string")
    ),
    "ResourceQuota": _object(("spec", "ResourceQuotaSpec"), status=3),
    "ResourceQuotaSpec": {1: ("hard", "{Quantity}"), 2: ("scopes", "[string]")},
    "PodDisruptionBudget": _object(("spec", "PodDisruptionBudgetSpec"), status=3),
    "PodDisruptionBudgetSpec": {
        1: ("minAvailable", "IntOrString"),
        2: ("selector", "LabelSelector"),
        3: ("maxUnavailable", "IntOrString"),
        4: ("unhealthyPodEvictionPolicy", "string"),
    },
    "Eviction": _object(("deleteOptions", "DeleteOptions")),
}
_NETWORK: dict[str, Fields] = {
    "Service": _object(("spec", "ServiceSpec"), status=3),
    "ServiceSpec": {
        1: ("ports", "[ServicePort]"),
        2: ("selector", "{string}"),
        3: ("clusterIP", "string"),
        4: ("type", "string"),
        5: ("externalIPs", "[string]"),
        7: ("sessionAffinity", "string"),
        10: ("externalName", "string"),
        11: ("externalTrafficPolicy", "string"),
        13: ("publishNotReadyAddresses", "flag"),
        17: ("ipFamilyPolicy", "string"),
        18: ("clusterIPs", "[string]"),
        19: ("ipFamilies", "[string]"),
        22: ("internalTrafficPolicy", "string"),
    },
    "ServicePort": {
        1: ("name", "string"),
        2: ("protocol", "string"),
        3: ("port", "count"),
        4: ("targetPort", "IntOrString"),
        5: ("nodePort", "count"),
        6: ("appProtocol", "string"),
    },
    "Ingress": _object(("spec", "IngressSpec"), status=3),
    "IngressSpec": {
        1: ("defaultBackend", "IngressBackend"),
        2: ("tls", "[IngressTLS]"),
        3: ("rules", "[IngressRule]"),
        4: ("ingressClassName", "string"),
    },
    "IngressBackend": {4: ("service", "IngressServiceBackend")},
    "IngressServiceBackend": {1: ("name", "string"), 2: ("port", "ServiceBackendPort")},
    "ServiceBackendPort": {1: ("name", "string"), 2: ("number", "count")},
    "IngressTLS": {1: ("hosts", "[string]"), 2: ("secretName", "string")},
    "IngressRule": {1: ("host", "string"), 2: ("", "<IngressRuleValue>")},
    "IngressRuleValue": {1: ("http", "HTTPIngressRuleValue")},
    "HTTPIngressRuleValue": {1: ("paths", "[HTTPIngressPath]")},
    "HTTPIngressPath": {1: ("path", "string"), 2: ("backend", "IngressBackend"), 3: ("pathType", "string")},
}
_RULES = _object(("rules", "[PolicyRule]"))
_BINDING = _object(("subjects", "[Subject]"), ("roleRef", "RoleRef"))
_ACCESS: dict[str, Fields] = {
    "Role": _RULES,
    "ClusterRole": _RULES,
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "PolicyRule": {
        1: ("verbs", "[string]"),
        2: ("apiGroups", "[string]"),
        3: ("resources", "[string]"),
        4: ("resourceNames", "[string]"),
        5: ("nonResourceURLs", "[string]"),
    },
    "Subject": _strings("kind", "apiGroup", "name", "namespace"),
    "RoleRef": _strings("apiGroup", "kind", "name"),
    "SelfSubjectReview": {1: ("metadata", "ObjectMeta"), 2: None},
    "SelfSubjectAccessReview": _object(("spec", "ReviewSpec"), status=3),
    "ReviewSpec": {1: ("resourceAttributes", "ResourceAttributes"), 2: ("nonResourceAttributes", "Attributes")},
    "ResourceAttributes": _strings("namespace", "verb", "group", "version", "resource", "subresource", "name"),
    "Attributes": _strings("path", "verb"),
    "SelfSubjectRulesReview": _object(("spec", "RulesReviewSpec"), status=3),
    "RulesReviewSpec": _strings("namespace"),
    "TokenRequest": _object(("spec", "TokenRequestSpec"), status=3),
    "TokenRequestSpec": {
        1: ("audiences", "[string]"),
        3: ("boundObjectRef", "BoundObjectReference"),
        4: ("expirationSeconds", "int"),
    },
    "BoundObjectReference": _strings("kind", "apiVersion", "name", "uid"),
}
_WORKLOADS: dict[str, Fields] = {
    "Deployment": _object(("spec", "DeploymentSpec"), status=3),
    "DeploymentSpec": {
        1: ("replicas", "int"),
        2: ("selector", "LabelSelector"),
        3: ("template", "PodTemplateSpec"),
        4: ("strategy", "DeploymentStrategy"),
        5: ("minReadySeconds", "count"),
        6: ("revisionHistoryLimit", "int"),
        7: ("paused", "flag"),
        9: ("progressDeadlineSeconds", "int"),
    },
    "DeploymentStrategy": {1: ("type", "string"), 2: ("rollingUpdate", "RollingUpdate")},
    "RollingUpdate": {1: ("maxUnavailable", "IntOrString"), 2: ("maxSurge", "IntOrString")},
    "Job": _object(("spec", "JobSpec"), status=3),
    "JobSpec": {
        1: ("parallelism", "int"),
        2: ("completions", "int"),
        3: ("activeDeadlineSeconds", "int"),
        4: ("selector", "LabelSelector"),
        5: ("manualSelector", "bool"),
        6: ("template", "PodTemplateSpec"),
        7: ("backoffLimit", "int"),
        8: ("ttlSecondsAfterFinished", "int"),
        9: ("completionMode", "string"),
        10: ("suspend", "bool"),
        14: ("podReplacementPolicy", "string"),
    },
    "CronJob": _object(("spec", "CronJobSpec"), status=3),
    "CronJobSpec": {
        1: ("schedule", "string"),
        2: ("startingDeadlineSeconds", "int"),
        3: ("concurrencyPolicy", "string"),
        4: ("suspend", "bool"),
        5: ("jobTemplate", "JobTemplateSpec"),
        6: ("successfulJobsHistoryLimit", "int"),
        7: ("failedJobsHistoryLimit", "int"),
        8: ("timeZone", "string"),
    },
    "JobTemplateSpec": {1: ("metadata", "ObjectMeta"), 2: ("spec", "JobSpec")},
}
_PODS: dict[str, Fields] = {
    "PodTemplateSpec": {1: ("metadata", "ObjectMeta"), 2: ("spec", "PodSpec")},
    "PodSpec": {
        1: ("volumes", "[Volume]"),
        2: ("containers", "[Container]"),
        3: ("restartPolicy", "string"),
        4: ("terminationGracePeriodSeconds", "int"),
        5: ("activeDeadlineSeconds", "int"),
        6: ("dnsPolicy", "string"),
        7: ("nodeSelector", "{string}"),
        8: ("serviceAccountName", "string"),
        9: ("serviceAccount", "string"),
        10: ("nodeName", "string"),
        11: ("hostNetwork", "flag"),
        12: ("hostPID", "flag"),
        13: ("hostIPC", "flag"),
        14: ("securityContext", "Nothing"),
        15: ("imagePullSecrets", "[LocalObjectReference]"),
        16: ("hostname", "string"),
        17: ("subdomain", "string"),
        19: ("schedulerName", "string"),
        20: ("initContainers", "[Container]"),
        21: ("automountServiceAccountToken", "bool"),
        22: ("tolerations", "[Toleration]"),
        24: ("priorityClassName", "string"),
    },
    "Toleration": {**_strings("key", "operator", "value", "effect"), 5: ("tolerationSeconds", "int")},
    "Container": {
        1: ("name", "string"),
        2: ("image", "string"),
        3: ("command", "[string]"),
        4: ("args", "[string]"),
        5: ("workingDir", "string"),
        6: ("ports", "[ContainerPort]"),
        7: ("env", "[EnvVar]"),
        8: ("resources", "ResourceRequirements"),
        9: ("volumeMounts", "[VolumeMount]"),
        13: ("terminationMessagePath", "string"),
        14: ("imagePullPolicy", "string"),
        16: ("stdin", "flag"),
        17: ("stdinOnce", "flag"),
        18: ("tty", "flag"),
        19: ("envFrom", "[EnvFromSource]"),
        20: ("terminationMessagePolicy", "string"),
    },
    "ContainerPort": {
        1: ("name", "string"),
        2: ("hostPort", "count"),
        3: ("containerPort", "count"),
        4: ("protocol", "string"),
        5: ("hostIP", "string"),
    },
    "EnvVar": {1: ("name", "string"), 2: ("value", "string"), 3: ("valueFrom", "EnvVarSource")},
    "EnvVarSource": {
        1: ("fieldRef", "ObjectFieldSelector"),
        3: ("configMapKeyRef", "KeySelector"),
        4: ("secretKeyRef", "KeySelector"),
    },
    "ObjectFieldSelector": _strings("apiVersion", "fieldPath"),
    "KeySelector": {1: ("", "<LocalObjectReference>"), 2: ("key", "string"), 3: ("optional", "bool")},
    "EnvFromSource": {1: ("prefix", "string"), 2: ("configMapRef", "WholeSource"), 3: ("secretRef", "WholeSource")},
    "WholeSource": {1: ("", "<LocalObjectReference>"), 2: ("optional", "bool")},
    "ResourceRequirements": {1: ("limits", "{Quantity}"), 2: ("requests", "{Quantity}")},
    "VolumeMount": {
        1: ("name", "string"),
        2: ("readOnly", "flag"),
        3: ("mountPath", "string"),
        4: ("subPath", "string"),
    },
    "Volume": {1: ("name", "string"), 2: ("", "<VolumeSource>")},
    "VolumeSource": {
        1: ("hostPath", "HostPathVolume"),
        2: ("emptyDir", "EmptyDirVolume"),
        6: ("secret", "SecretVolume"),
        19: ("configMap", "ConfigMapVolume"),
    },
    "HostPathVolume": _strings("path", "type"),
    "EmptyDirVolume": {1: ("medium", "string"), 2: ("sizeLimit", "Quantity")},
    "SecretVolume": {
        1: ("secretName", "string"),
        2: ("items", "[KeyToPath]"),
        3: ("defaultMode", "int"),
        4: ("optional", "bool"),
    },
    "ConfigMapVolume": {
        1: ("", "<LocalObjectReference>"),
        2: ("items", "[KeyToPath]"),
        3: ("defaultMode", "int"),
        4: ("optional", "bool"),
    },
    "KeyToPath": {**_strings("key", "path"), 3: ("mode", "int")},
    "Nothing": {},
}
MESSAGES: Mapping[str, Fields] = {**_SHARED, **_PLAIN, **_NETWORK, **_ACCESS, **_WORKLOADS, **_PODS}
