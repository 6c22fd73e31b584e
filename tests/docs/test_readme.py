"""The README: short, its links lead somewhere, its table of networks is that of the cards."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from hddnn import __version__, zoo

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_it_is_read_in_three_minutes() -> None:
    assert len(README.splitlines()) <= 150
    (block,) = re.findall(r"<!-- begin (\w+) -->", README)
    assert block == "run"


@pytest.mark.parametrize("name", zoo.names())
def test_the_table_of_networks_is_that_of_the_cards(name: str) -> None:
    card = zoo.bundle(name).card
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{name}`")]
    assert f"{card.parameters:,}" in row
    assert f"{len(card.labels)} {card.task}" in row
    for level, accuracy in card.accuracy.items():
        assert f"{level} {accuracy:.3f}" in row


def test_links_lead_to_files_and_headings() -> None:
    targets = re.findall(r"\]\(((?!https?:)[^)\s]+)\)", README)
    assert len(targets) > 20
    # As GitHub makes them.
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in README.splitlines()
        if line.startswith("#")
    }
    lost = [target for target in targets if target.startswith("#") and target[1:] not in headings]
    lost += [
        target
        for target in targets
        if not target.startswith("#") and not (ROOT / target.split("#")[0]).is_file()
    ]
    assert lost == []


def test_the_citation_is_the_papers_and_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == __version__
    assert {"message", "title", "authors"} <= set(citation)
    paper = citation["preferred-citation"]
    (bibtex,) = re.findall(r"```bibtex\n(.*?)```", README, re.DOTALL)
    fields = {
        key: " ".join(value.split())
        for key, value in re.findall(r"(\w+)\s*= \{(.*?)\}[,\n]", bibtex, re.DOTALL)
    }
    names = [f"{author['family-names']}, {author['given-names']}" for author in paper["authors"]]
    assert fields == {
        "author": " and ".join(names),
        "title": paper["title"],
        "journal": paper["journal"],
        "year": str(paper["year"]),
        "doi": paper["doi"],
    }


def test_the_report_is_of_the_whole_test_set_and_not_too_large() -> None:
    page = (ROOT / "docs" / "report.html").read_text()
    assert len(page.encode()) < 3_000_000
    for text in ("10,000", "cifar100", "Table 1", "Table 6", "Figure 4"):
        assert text in page
    assert "numbers mean nothing" not in page
