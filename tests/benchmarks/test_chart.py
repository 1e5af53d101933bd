from xml.etree import ElementTree as ET

from tests.benchmarks import chart

TEXT = "{http://www.w3.org/2000/svg}text"
LONG = "a queue, with every one of its settings named, more than the eighty characters of a line"


def words(svg: str) -> list[str]:
    """Return the texts of a chart."""
    return ["".join(text.itertext()) for text in ET.fromstring(svg).iter(TEXT)]


def test_a_bar_has_its_whole_label_and_its_figure() -> None:
    """No label is cut off, however long: it begins to the right of the left edge."""
    svg = chart.bars("Jobs & more", [(LONG, 48_944.4), ("Sweephand, direct", 10.0)], "jobs/s")
    assert {LONG, "48,944 jobs/s", "Sweephand, direct", "10 jobs/s", "Jobs & more"} <= set(words(svg))
    label = next(text for text in ET.fromstring(svg).iter(TEXT) if text.text == LONG)
    # The label ends at x. A letter of DejaVu Sans is on average wider than half its size.
    assert float(label.attrib["x"]) > 9 * 0.5 * len(LONG)


def test_lines_name_their_panels_and_series() -> None:
    """Each panel has a name, and each series stands in a legend."""
    panels = [("Dead rows", {"open": [0.0, 5.0], "leases": [1.0, 2.0]}), ("Size", {"jobs": [3.0, 4.0]})]
    assert {"Dead rows", "open", "leases", "Size", "jobs", "minute"} <= set(
        words(chart.lines("An hour", panels, [0, 1]))
    )


def test_the_same_figures_draw_the_same_bytes() -> None:
    """A chart holds no date and no random id."""
    rows = [("a", 2.0), ("b", 1.0)]
    assert chart.bars("T", rows, "s") == chart.bars("T", rows, "s")
    assert "<dc:date>" not in chart.bars("T", rows, "s")
