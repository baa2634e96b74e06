"""The tutorial, from its first command to its last."""

import json

import pytest
from readersshell import Shell


@pytest.mark.integration
@pytest.mark.timeout(1500)
def test_the_tutorial(tutorial: Shell) -> None:
    """Every command works, prints what the page shows, and the answer is what the page says."""
    question = "curl -sSf -H 'Content-Type: application/json' -d @manifests/samples/digits-request.json"
    answer = json.loads(tutorial.run(f"{question} $URL/v2/models/digits/infer"))
    scores = answer["outputs"][0]["data"]
    assert scores.index(max(scores)) == 7
    assert "GuardrailInconclusive" in tutorial.run("kubectl get events")
    assert "goes away in" in tutorial.run('until trimtab explain digits | grep "goes away in"; do sleep 1; done')
