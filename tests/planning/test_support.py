"""What a pool can say but this version does not do."""

from __future__ import annotations

import pytest

from trimtab.api.capacity import CapacityPoolSpec
from trimtab.planning.support import pool_refusals

GROUP = {"autoScalingGroup": {"name": "spot", "region": "eu-west-1"}}
LABELS = {"labels": {"matchLabels": {"pool": "spot"}}}


@pytest.mark.parametrize(
    ("extra", "field", "value", "remedy"),
    [
        (
            {"provider": GROUP, "instanceTypes": ["m7i.large", "m6i.large"]},
            "spec.instanceTypes",
            "m7i.large, m6i.large",
            "leave it out: the provider's own group says what its machines are",
        ),
        (
            {"provider": GROUP, "capacityType": "Reserved"},
            "spec.capacityType",
            "Reserved",
            "use OnDemand: what is reserved is taken first wherever it may be bought on demand",
        ),
        (
            {"interruption": {"queueUrl": "arn://aws:sqs:notices"}},
            "spec.interruption.queueUrl",
            "arn://aws:sqs:notices",
            "give the address of an SQS queue: https://sqs.<region>.amazonaws.com/<account>/<name>",
        ),
    ],
)
def test_what_a_pool_cannot_do_is_refused_by_name(extra, field, value, remedy) -> None:
    """Field, value and remedy, instead of silence."""
    spec = CapacityPoolSpec.model_validate({"capacityType": "Spot", "provider": LABELS} | extra)
    assert [str(refusal) for refusal in pool_refusals(spec)] == [
        f"{field}: {value} is not supported by this version; {remedy}"
    ]


@pytest.mark.parametrize(
    "spec",
    [
        {"provider": LABELS},
        {"provider": LABELS, "instanceTypes": ["m7i.large"]},
        {"provider": GROUP, "interruption": {"queueUrl": "https://sqs.eu-west-1.amazonaws.com/1/notices"}},
        {"provider": {"eksNodegroup": {"cluster": "c", "name": "spot", "region": "eu-west-1"}}},
        {"provider": {"karpenter": {"nodePool": "spot"}}, "instanceTypes": ["m7i.large"]},
    ],
)
def test_what_works_is_taken(spec) -> None:
    """Nothing is refused that works."""
    assert pool_refusals(CapacityPoolSpec.model_validate({"capacityType": "Spot"} | spec)) == []
