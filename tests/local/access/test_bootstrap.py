"""The roles that every cluster has, after a restart too."""

from trimtab.local.access import bootstrap

ROLES = "clusterroles.rbac.authorization.k8s.io"
BINDINGS = "clusterrolebindings.rbac.authorization.k8s.io"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"


def test_a_second_start_writes_nothing(registry):
    """What is right stays as it is."""
    bootstrap.seed(registry)
    before = registry.version
    bootstrap.seed(registry)
    assert registry.version == before


def test_what_was_lost_comes_back(registry):
    """Rules and subjects that somebody took are there again; additions stay, and so does what opted out."""
    bootstrap.seed(registry)
    role = registry.get(ROLES, "system:basic-user")
    mine = {"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]}
    registry.update(ROLES, {**role, "rules": [mine]})
    binding = registry.get(BINDINGS, "system:discovery")
    registry.update(BINDINGS, {**binding, "subjects": []})
    kept = registry.get(ROLES, "system:discovery")
    annotations = {AUTOUPDATE: "false"}
    registry.update(ROLES, {**kept, "metadata": {**kept["metadata"], "annotations": annotations}, "rules": [mine]})
    bootstrap.seed(registry)
    assert registry.get(ROLES, "system:basic-user")["rules"] == [mine, *role["rules"]]
    assert registry.get(BINDINGS, "system:discovery")["subjects"] == binding["subjects"]
    assert registry.get(ROLES, "system:discovery")["rules"] == [mine]
