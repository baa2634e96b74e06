"""What a pool can say but this version does not do."""

from __future__ import annotations

import pytest

from trimtab.api.capacity import CapacityPoolSpec
from trimtab.planning.support import pool_refusals

LABELS = {"labels": {"matchLabels": {"pool": "spot"}}}


@pytest.mark.parametrize(
    ("extra", "field", "value", "remedy"),
    [
        (
            {"instanceTypes": ["m7i.large", "m6i.large"]},
            "spec.instanceTypes",
            "m7i.large, m6i.large",
            "leave it out; the provider's own nodes have types",
        ),
        (
            {"provider": {"karpenter": {"nodePool": "spot"}}},
            "spec.provider.karpenter",
            "this provider",
            "use labels for nodes that exist, or embedded",
        ),
    ],
)
def test_what_a_pool_cannot_do_is_refused_by_name(extra, field, value, remedy) -> None:
    """Field, value and remedy, instead of silence."""
    spec = CapacityPoolSpec.model_validate({"capacityType": "Spot", "provider": LABELS} | extra)
    assert [str(refusal) for refusal in pool_refusals(spec)] == [
        f"{field}: {value} is not supported by this version; {remedy}"
    ]


def test_a_pool_of_labels_is_taken() -> None:
    """Nothing is refused that works."""
    assert pool_refusals(CapacityPoolSpec.model_validate({"capacityType": "Spot", "provider": LABELS})) == []
