"""The report: what it counts, and the page and picture made of it."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure

from trimtab.api.guardrail import Guardrail
from trimtab.workloads.compress.report.charts import charts
from trimtab.workloads.compress.report.evidence import MOST_CLASSES, MOST_POINTS, Outputs, evidence
from trimtab.workloads.compress.report.gaps import unmeasured
from trimtab.workloads.compress.report.page import page
from trimtab.workloads.compress.report.rendering import png, svg


def a_guardrail(metric):
    return Guardrail.model_validate({"dataset": {"uri": "file:///data.npz"}, "metric": metric, "maxDrop": "5%"})


def scores(count=600, classes=4, noise=1.0, seed=0):
    """Labels, and scores that mostly point to them."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, count)
    return labels, np.eye(classes)[labels] * 2 + draw.normal(scale=noise, size=(count, classes))


@pytest.fixture
def a_report():
    """A report with everything that can be drawn."""
    labels, before = scores()
    after = before + np.random.default_rng(1).normal(scale=0.5, size=before.shape)
    times = np.random.default_rng(2).gamma(4, 0.02, 200)
    trials = [
        {"title": f"t{i}", "ratio": 0.3 + i / 6, "bytes": 1000 * i, "drop": 0.03 - i / 200, "feasible": i > 2}
        for i in range(6)
    ]
    return {
        "namespace": "default",
        "model": "digits",
        "key": "k",
        "source": {"uri": "file:///source", "digest": "d", "bytes": 100},
        "data": {"file:///data.npz": "d"},
        "bytes": 10,
        "steps": [
            {
                "title": "quantize",
                "technique": "quantize",
                "facts": {"sensitivity": [["layer.1", 0.5], ["l" * 60, 2]], "bytesAfter": 12},
            }
        ],
        "recipeYaml": "- quantize:\n    scheme: INT8\n",
        "seeds": [0],
        "guardrail": {
            "verdict": "Passed",
            "metric": "Accuracy",
            "baseline": "0.99",
            "candidate": "0.98",
            "drop": "0.01",
            "lower": "-0.001",
            "upper": "0.019",
            "limit": "0.02",
            "confidence": "95%",
            "samples": 600,
            "message": "accuracy fell 1.0pp",
        },
        "maxDrop": "2pp",
        "latencyMs": "0.040",
        "sourceLatencyMs": "0.080",
        "latencies": {"baseline": times.tolist(), "candidate": (times / 2).tolist()},
        "evidence": evidence(Outputs(before, after, labels), a_guardrail("Accuracy")),
        "search": {"trials": trials, "front": [3, 4, 5], "chosen": 4, "steps": "- chosen: {}\n"},
        "warnings": [],
        "environment": {"trimtab": "1", "cpu": "c", "threads": 1, "vnni": True, "libraries": {"numpy": "2"}},
    }


def test_confusion_counts_every_answer():
    """Rows are labels and columns are answers; with few classes nothing is left out."""
    labels, before = scores()
    found = evidence(Outputs(before, before, labels), a_guardrail("Accuracy"))
    confusion = np.array(found["confusion"]["baseline"])
    assert confusion.sum() == 600
    assert confusion.sum(axis=1).tolist() == np.bincount(labels).tolist()
    assert confusion.trace() == (before.argmax(axis=1) == labels).sum()
    assert found["confusion"]["candidate"] == found["confusion"]["baseline"]
    assert found["errors"] is None


def test_of_many_classes_those_that_are_mistaken_are_shown():
    """A model that mistakes class 37 for 11 shows both labels' rows when others are right."""
    labels = np.repeat(np.arange(40), 5)
    before = np.eye(40)[labels]
    after = before.copy()
    after[labels == 37] = np.eye(40)[11]
    confusion = evidence(Outputs(before, after, labels), a_guardrail("Accuracy"))["confusion"]
    assert len(confusion["classes"]) == MOST_CLASSES
    assert {11, 37} <= set(confusion["classes"])
    assert confusion["of"] == 40
    row, column = confusion["classes"].index(37), confusion["classes"].index(11)
    assert confusion["candidate"][row][column] == 5
    assert confusion["baseline"][row][column] == 0


def test_errors_of_numbers_share_their_edges():
    """Both histograms count every sample, over the same bins."""
    labels = np.random.default_rng(0).normal(size=300)
    before, after = labels[:, None] + 0.1, labels[:, None] - 0.3
    found = evidence(Outputs(before, after, labels), a_guardrail("MeanAbsoluteError"))
    errors = found["errors"]
    assert sum(errors["baseline"]) == sum(errors["candidate"]) == 300
    assert errors["edges"][0] == pytest.approx(-0.3)
    assert errors["edges"][-1] == pytest.approx(0.1)
    assert found["projection"] is None, "one number per sample has no second axis"


def test_outputs_without_labels_are_compared_with_each_other():
    """1 - cosine per sample, and a projection without colours."""
    before = np.random.default_rng(0).normal(size=(500, 8, 3))
    found = evidence(Outputs(before, before * 2, None), a_guardrail("CosineSimilarity"))
    assert found["scores"]["candidate"] == [1.0, 1.0]
    assert max(found["errors"]["edges"], key=abs) < 1
    projection = found["projection"]
    assert projection["groups"] is None
    assert len(projection["baseline"]) == MOST_POINTS
    first, second = np.array(projection["baseline"]), np.array(projection["candidate"])
    assert np.ptp(second, axis=0) == pytest.approx(np.ptp(first, axis=0) * 2, rel=1e-3)


def test_intervals_of_scores_hold_the_scores():
    """Also where every answer is right, the interval has a width."""
    labels, before = scores(noise=0.01)
    _, after = scores(noise=1.5)
    found = evidence(Outputs(before, after, labels), a_guardrail("Accuracy"))["scores"]
    assert found["baseline"][0] < found["baseline"][1] == 1.0
    low, high = found["candidate"]
    assert low < (after.argmax(axis=1) == labels).mean() < high


def test_outputs_that_are_no_numbers_are_not_drawn():
    """Infinite scores have no projection, and the report is made all the same."""
    labels, before = scores()
    after = before.copy()
    after[0, 2] = -np.inf
    found = evidence(Outputs(before, after, labels), a_guardrail("Accuracy"))
    assert found["projection"] is None
    assert found["confusion"] is not None


def test_the_report_holds_no_sample(a_report):
    """Counts and coordinates are plain JSON, of bounded length whatever the number of samples."""
    assert len(json.dumps(a_report["evidence"])) < 30_000


def test_every_plot_is_whole_xml(a_report):
    """Each plot parses, names no address and takes the page's colour for its text."""
    found = charts(a_report)
    assert [chart.title for chart in found] == [
        "Guardrail",
        "Latency",
        "Confusion before",
        "Confusion after",
        "Outputs before",
        "Outputs after",
        "Size by step",
        "Search",
        "Sensitivity: quantize",
    ]
    for chart in found:
        drawn = svg(chart)
        ET.fromstring(drawn.replace("xlink:href", "href"))
        assert "http" not in drawn
        assert "currentColor" in drawn
        assert chart.note


def test_page_and_picture_are_the_same_each_time(a_report):
    """Equal reports give equal bytes; the page loads nothing and has the recipe that search chose."""
    html = page(a_report)
    assert html == page(a_report)
    assert "http" not in html
    assert "url(" not in html.replace("url(#", "")
    assert "- chosen: {}" in html
    assert "99.00 %" in html
    picture = png(a_report)
    assert picture == png(a_report)
    assert picture.startswith(b"\x89PNG")


def test_the_page_escapes_what_came_from_outside(a_report):
    """Names and messages of users are text, never markup."""
    bad = a_report | {
        "namespace": "<b>",
        "source": {"uri": "file:///<script>", "digest": "d", "bytes": 100},
        "data": {"file:///<i>": "d"},
        "steps": [{"title": "<u>", "technique": "prune", "facts": {"kept": ["<s>"], "sensitivity": [["<q>", 1.0]]}}],
        "recipeYaml": "<e>",
        "search": None,
        "warnings": ["<w>"],
        "environment": {"trimtab": "1", "cpu": "<c>", "threads": 1, "vnni": True, "libraries": {}},
    }
    html = page(bad)
    assert not [tag for tag in ("<b>", "<script>", "<i>", "<u>", "<s>", "<w>", "<c>", "<q>", "<e>") if tag in html]
    assert "10.0x smaller" in html


def test_a_report_without_a_guardrail(a_report):
    """Nothing was judged: no verdict, no score, and the latency is still there."""
    plain = a_report | {"guardrail": None, "evidence": None, "search": None, "steps": []}
    html = page(plain)
    assert "Nothing was proven" in html
    assert [chart.title for chart in charts(plain)] == ["Latency"]
    assert png(plain)


def test_the_interval_is_inside_the_plot(a_report):
    """Also when zero and limit lie outside the interval, everything is between the axes' ends."""
    guardrail = a_report["guardrail"] | {"lower": "0.03", "upper": "0.05", "drop": "0.04", "verdict": "Failed"}
    (chart, *_) = charts(a_report | {"guardrail": guardrail})
    axes = Figure().add_subplot()
    chart.draw(axes)
    low, high = axes.get_xlim()
    assert low < 0
    assert high > 5


def test_embeddings_are_placed_together():
    """Both models' in one picture: what did not move stays, groups stay apart; again, it is the same picture."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 60)
    before = np.eye(16)[labels] * 8 + draw.normal(size=(60, 16))
    found = evidence(Outputs(before, before + 1e-6, labels), a_guardrail("Accuracy"))["neighbours"]
    one, other = (np.array(found[name]) for name in ("baseline", "candidate"))
    assert one.shape == (60, 2)
    apart = np.linalg.norm(one - other, axis=1)
    middles = np.array([one[labels == group].mean(axis=0) for group in range(3)])
    assert np.median(apart) < np.linalg.norm(middles[0] - middles[1]) / 3
    nearest = np.linalg.norm(one[:, None] - middles, axis=2).argmin(axis=1)
    assert (nearest == labels).mean() > 0.95
    assert found == evidence(Outputs(before, before + 1e-6, labels), a_guardrail("Accuracy"))["neighbours"]
    few = scores(classes=4)
    assert evidence(Outputs(few[1], few[1], few[0]), a_guardrail("Accuracy"))["neighbours"] is None


def test_sizes_go_down_step_by_step(a_report):
    """From the original to what is delivered; a report of before says nothing of it and draws nothing."""
    assert "Size by step" in [chart.title for chart in charts(a_report)]
    del a_report["steps"][0]["facts"]["bytesAfter"]
    assert "Size by step" not in [chart.title for chart in charts(a_report)]


def test_what_was_not_measured_is_said(a_report):
    """As far as it can be told from the report; the page lists it."""
    told = unmeasured(a_report)
    assert "Latency of batches: single samples were timed." in told
    assert "Other machines than c with 1 threads, and load by others on it." in told
    assert "Recipes beyond the 6 trials of this search." in told
    assert not any("sensitive" in sentence for sentence in told), "a step looked at its layers"
    a_report["search"] |= {"objective": "Throughput", "trials": [{"outcome": "Failed"}, {"outcome": "CutOff"}]}
    a_report["steps"] = [{"title": "prune", "facts": {}}, {"title": "distill", "facts": {}}]
    a_report["guardrail"] = None
    told = unmeasured(a_report)
    assert told[0] == "Whether the model is still right: the guardrail is disabled."
    assert "batches of 32 were timed against candidate 0 while searching only" in told[1]
    assert "What each step alone costs in accuracy: only all of them together were judged." in told
    assert "How sensitive single layers are: no step of this recipe looks at them one by one." in told
    assert told[-3].endswith("of this search, of which 1 could not be made, 1 cut off by the timeout.")
