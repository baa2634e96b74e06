"""Every command in the documents is run here or elsewhere, or is listed with the reason why it is not."""

from __future__ import annotations

import ast
import re
import shlex

import boto3
import pytest
from documents import PAGES, ROOT, Block, blocks, commands, is_complete, is_shell
from readersshell import DONE, Shell, follow

TUTORIAL = "tests/docs/test_tutorial.py::test_the_tutorial"
KIND = "tests/docs/test_kind.py::test_make_kind"
SET_ENV = "kubectl -n trimtab-system set env deployment/trimtab-operator"
CLUSTER = "tests/cli/test_local.py::test_a_cluster_goes_up_and_down"

# These pages are followed on the tutorial's cluster; what is written before a page's commands is what its reader has.
FOLLOWED = {
    "README.md": f"cd {ROOT}",
    "docs/gitops.md": f"cd {ROOT}; kubectl create namespace argocd",
    "docs/howto/canary.md": "",
    "docs/howto/own-runtime.md": "",
    "docs/howto/s3.md": "AWS_ENDPOINT_URL=http://127.0.0.1:9 AWS_ACCESS_KEY_ID=key AWS_SECRET_ACCESS_KEY=secret",
    "docs/howto/search.md": "",
    "docs/howto/spot-on-eks.md": "",
}
# What a page shows is run in this form: asked of the API server, but not kept, or where the page's reader stands.
AS_RUN = {
    **{
        f"{SET_ENV} {setting}": f"{SET_ENV} --dry-run=server {setting}"
        for setting in ("TRIMTAB_ARTIFACTS_URI=s3://BUCKET/artifacts", "TRIMTAB_ALLOW_CODE_NAMESPACES=default,team-a")
    },
    "kubectl apply --server-side -k manifests": (
        "kubectl apply --server-side --force-conflicts --dry-run=server -k manifests"
    ),
    **{
        f"kubectl apply -f {name}.yaml": f"kubectl apply --dry-run=server -f {name}.yaml"
        for name in ("digits", "own-code", "own-runtime", "search", "pools")
    },
    "kubectl kustomize production | trimtab diff -f - -n models": (
        "kubectl kustomize manifests/gitops/repository/production | trimtab diff -f - -n models || [[ $? == 1 ]]"
    ),
}
ELSEWHERE = {
    "helm install trimtab charts/trimtab --namespace trimtab-system --create-namespace": (
        "tests/test_chart.py::test_helm_and_kustomize_make_the_same_objects"
    ),
    "kubectl get om": TUTORIAL,
    "kubectl get nodes": TUTORIAL,
    "kubectl --context kind-trimtab -n models get optimizedmodels": KIND,
    "make kind": KIND,
    "make demo": "tests/cli/demo/test_ending.py::test_interrupt_leaves_nothing",
    "make audit": "tests/test_release.py::test_a_database_that_cannot_be_reached_is_a_failure",
    "make sbom": "tests/test_release.py::test_each_image_has_its_bill",
    "trimtab promote digits": "tests/cli/test_promote.py::test_the_candidate_of_this_generation_is_promoted",
    'trimtab rollback digits --reason "wrong digits at the till"': "tests/cli/test_rollback.py::test_the_way_back",
    "trimtab rollback digits --to digits-1a2b3c4d": "tests/cli/test_rollback.py::test_the_way_back",
    "trimtab rollback digits --undo": "tests/cli/test_rollback.py::test_it_can_be_undone",
    "trimtab dashboard": "tests/cli/dashboard/test_site.py::test_everything_comes_from_here_and_runs_nothing_else",
    "kubectl create secret tls trimtab-gateway-tls --cert tls.crt --key tls.key": (
        "tests/workloads/gateway/test_tls.py::test_a_certificate_comes_is_renewed_and_goes"
    ),
    "trimtab local up": CLUSTER,
    "export KUBECONFIG=~/.local/state/trimtab/local/kubeconfig": CLUSTER,
    "trimtab local status": CLUSTER,
    "trimtab local down": CLUSTER,
    "trimtab local interrupt spot-3a101": TUTORIAL,
    "trimtab simulate --spot tests/bench/autoscaling/traces/gcp_v100x1_us-east1c_2021-12.csv "
    "--requests tests/bench/autoscaling/traces/worldcup98_1998-06-08_35d_1min.csv.gz --startup 90s --notice 2m "
    "--offsets 3 --plot simulated.png": "tests/cli/simulate/test_command.py::test_a_table_names_all_policies",
}
NOT_RUN = {
    **dict.fromkeys(DONE, "where tests run it has been done; that it is a target of make is tested"),
    "make test": "it runs what runs this",
    'make test ARGS="tests/api -q"': "as make test",
    "make lint": "the continuous integration's own step",
    "make docs": "the continuous integration's own step; tests/docs/test_site.py builds the same site",
    "make lint docs test": "as make test",
    "make crds chart": "writes into the checkout; make lint and tests/test_chart.py check that nothing would change",
    "make images": "needs Docker; the arguments are seen by " + KIND,
    "kind delete cluster --name trimtab": "needs kind",
    "kind create cluster --config kind-config.yaml && kind get kubeconfig --name trimtab > /tmp/kind": "needs kind",
    'KUBECONFIG=/tmp/kind make test ARGS="tests/kubectl tests/clients tests/effects tests/api tests/e2e tests/local"': (
        "needs kind"
    ),
    'KUBECONFIG=~/.kube/config make test ARGS="tests/kubectl tests/clients tests/effects"': "as make test",
    'KUBEBUILDER_ASSETS="$(setup-envtest use -p path 1.36.x)" make test': "downloads a control plane",
    "kubectl apply -f manifests/gitops/argocd-application.yaml": (
        "Argo CD's kinds are not here; tests/docs/test_yaml.py reads the file"
    ),
    "kubectl apply -f manifests/gitops/flux/models.yaml": "Flux's kinds are not here; as above",
    "aws s3 cp --recursive $WORK/model s3://models/digits/v1": "needs the AWS CLI; trimtab sample does it in " + KIND,
    "aws s3 cp $WORK/data/digits.npz s3://models/data/digits.npz": "needs the AWS CLI; as above",
}
SHELL = [block for path in PAGES for block in blocks(path) if is_shell(block)]
SHOWN = [(block, command) for block in SHELL for command in commands(block)]


def is_looked_at(command: str) -> bool:
    """Whether it is a measurement of ours or a call of AWS, which the tests below hold against what there is."""
    return bool(re.match(r"(\.venv/bin/)?python tests/bench/|aws (?!s3 )|for rule in .*\n?\s*aws ", command))


def test_no_command_is_forgotten() -> None:
    """A new one is run, or gets its line above."""
    followed = {*FOLLOWED, "docs/tutorial.md"}
    listed = {*ELSEWHERE, *NOT_RUN}
    left = [
        f"{block}: {command}"
        for block, command in SHOWN
        if command not in listed and not is_looked_at(command) and block.page not in followed
    ]
    assert left == []
    assert len(SHELL) > 30
    everything = {command for _, command in SHOWN}
    assert {*AS_RUN, *ELSEWHERE, *NOT_RUN} - everything == set(), "listed, but no longer in a document"


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_what_is_run_elsewhere_is(test: str) -> None:
    """The named file has the named test."""
    path, _, name = test.partition("::")
    defined = ast.parse((ROOT / path).read_text()).body
    assert name in {node.name for node in defined if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("block", [block for block in SHELL if block.language], ids=str)
def test_blocks_are_whole(block: Block) -> None:
    """Bash can read each block as it stands."""
    assert is_complete(block.text)


@pytest.mark.parametrize("command", [c for _, c in SHOWN if "tests/bench/" in c and "simulate" not in c])
def test_measurements_are_there(command: str) -> None:
    """The script exists and knows each option; running it takes from minutes to hours."""
    _, script, *arguments = shlex.split(command.removeprefix(".venv/bin/"))
    text = "".join(path.read_text() for path in (ROOT / script).parent.glob("*.py"))
    assert [word for word in arguments if word.startswith("--") and f'"{word}"' not in text] == []


def aws() -> list[list[str]]:
    lines = [command for _, command in SHOWN if re.match(r"aws (?!s3 )|for ", command)]
    return [shlex.split(line[line.index("aws ") :].replace("; done", "")) for line in lines]


@pytest.mark.parametrize("words", aws(), ids=lambda words: " ".join(words[1:4]))
def test_calls_of_aws_are_ones(words: list[str]) -> None:
    """The service has the operation, the operation each option, and what it requires is given."""
    _, service, operation, *rest = words
    model = boto3.client(service, region_name="eu-west-1").meta.service_model
    (name,) = [name for name in model.operation_names if kebab(name) == operation]
    shape = model.operation_model(name).input_shape
    given = {word.removeprefix("--") for word in rest if word.startswith("--")}
    assert given <= {kebab(member) for member in shape.members}
    assert {kebab(member) for member in shape.required_members} <= given


def kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def test_make_knows_what_is_done_already() -> None:
    """`make install` is a target."""
    assert re.search(r"^install: ", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.integration
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("page", sorted(FOLLOWED))
def test_a_page_is_followed(tutorial: Shell, page: str) -> None:
    """Each of its commands works on the tutorial's cluster, with the files that the page shows."""
    skipped = {*ELSEWHERE, *NOT_RUN, *(command for _, command in SHOWN if is_looked_at(command))}
    tutorial.run('cd "$(mktemp -d)"')
    try:
        for block in blocks(ROOT / page):
            if title := titled(block):
                tutorial.run(f"cat >{title} <<'END'\n{block.text}END")
        tutorial.run(FOLLOWED[page] or ":")
        follow(tutorial, blocks(ROOT / page), skipped, AS_RUN)
    finally:
        tutorial.run(f"cd {ROOT}")


def titled(block: Block) -> str | None:
    """The file's name that a page gives to a block."""
    lines = (ROOT / block.page).read_text().splitlines()
    found = re.fullmatch(r' *```\w+ title="([\w.-]+)"', lines[block.line - 2])
    return found[1] if found else None
