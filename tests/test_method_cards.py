"""Every figure of a method card (`docs/methods/`) is what the code says, to the printed digits.

A card's tables are read by their headings; a row whose `variant` names several stands for each of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import VideoMAEForPreTraining

from baselines.common.convnets import ConvNet
from baselines.videomae.encoder import encoder_flop, pretraining_network
from baselines.videomae.pretrain import Stage1Settings
from baselines.videomae.step import step_flop
from benchmark import registry
from benchmark.baseline import Scale
from benchmark.board.published import load_paper
from benchmark.weights.catalogue import catalogue

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "methods"
HEADINGS = [
    *("What it is", "Source", "Input", "Recipe", "Parameters and GMAC", "Weights"),
    "Deviations from the paper",
]
REPORTED = {
    **{"csn": "CSN", "x3d": "X3D", "slowfast": "SlowFast", "linear_probe": "Linear probing"},
    **{"human_only": "Human-only", "zero_shot": "Pretrained zero-shot", "xspecies_videomae": "Cross-species"},
}
# A method without a card is somebody's work in progress; the README tells which are ours, and a test below asks for it.
OURS = {name: entry for name, entry in registry.entries().items() if (FOLDER / f"{name}.md").is_file()}
NETWORKS = [name for name in OURS if registry.load(name).inits]
SIZES = ("tiny", "base")

Row = dict[str, str]


@cache
def sections(name: str) -> dict[str, str]:
    """A card's text by heading, in its order."""
    title, *parts = re.split(r"^## ", (FOLDER / f"{name}.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert title.strip() == f"# {name}"
    return {heading: text for heading, _, text in (part.partition("\n") for part in parts)}


def tables(text: str) -> list[list[Row]]:
    """Markdown tables as rows by column."""
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE):
        titles, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        found.append([dict(zip(titles, row, strict=True)) for row in rows])
    return found


def the_table(name: str, section: str) -> list[Row]:
    found = tables(sections(name)[section])
    assert len(found) == 1, f"{name}: {section} must hold one table"
    return found[0]


def variants(name: str) -> tuple[str, ...]:
    field = registry.load(name).Settings.model_fields.get("variant")
    return ("-",) if field is None else get_args(field.annotation)


def adapter(name: str, size: Any, variant: str = "-") -> Any:
    kind = registry.load(name)
    return kind(kind.Settings(**({} if variant == "-" else {"variant": variant})), Scale(size, "random", 5.0))


def rows_by_network(name: str, section: str) -> dict[tuple[str, str], Row]:
    """One row for every size and variant, none twice and none missing."""
    found = [
        ((size, variant), row)
        for row in the_table(name, section)
        for size in (SIZES if row["size"] == "any" else [row["size"]])
        for variant in row.get("variant", "-").split(", ")
    ]
    assert sorted(key for key, _ in found) == sorted((size, variant) for size in SIZES for variant in variants(name))
    return dict(found)


def assert_printed(printed: str, value: float) -> None:
    """The value, rounded to as many digits as are printed."""
    assert f"{value:.{len(printed.partition('.')[2])}f}" == printed


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@cache
def videomae(size: Any) -> VideoMAEForPreTraining:
    """Encoder and decoder, without memory."""
    with torch.device("meta"):
        return pretraining_network(Scale(size, "random", 5.0), None, 0).eval()


def facts(name: str, size: Any, variant: str) -> Iterator[tuple[str, float]]:
    """What a row of the table of parameters says, by column."""
    method = adapter(name, size, variant)
    if isinstance(method, ConvNet):
        with torch.device("meta"):
            network = method.network()
        yield "parameters (M)", count(network) / 1e6
        yield "GMAC", method.forward_flop() / 2e9
        return
    whole = videomae(size)
    yield "parameters (M)", (count(whole.videomae) + whole.config.hidden_size + 1) / 1e6
    yield "GMAC", encoder_flop(method.scale) / 2e9
    if isinstance(method.settings, Stage1Settings):
        yield "in stage 1 (M)", count(whole) / 1e6
        yield "GMAC of stage 1", step_flop(whole.config, method.settings.mask_ratio).forward / 2e9


def test_every_card_has_a_method() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.md")) == sorted([*OURS, "README"])


@pytest.mark.parametrize("name", OURS)
def test_a_card_has_all_headings_in_order_and_none_of_them_empty(name: str) -> None:
    assert list(sections(name)) == HEADINGS
    assert all(text.strip() for text in sections(name).values())


@pytest.mark.parametrize("name", OURS)
def test_a_card_names_its_adapters_file(name: str) -> None:
    module = registry.entries()[name].module
    assert f"`{module.replace('.', '/')}.py`" in sections(name)["Source"]


@pytest.mark.parametrize("name", OURS)
def test_frames_and_pixels_are_those_that_the_adapter_asks_for(name: str) -> None:
    if adapter(name, "tiny").input is None:
        assert sections(name)["Input"].strip().startswith("No frames.")
        assert not tables(sections(name)["Input"])
        return
    for (size, variant), row in rows_by_network(name, "Input").items():
        wanted = adapter(name, size, variant).input
        sampling = wanted.sampling
        assert row["frames"] == ("as many as fit" if sampling.frames is None else str(sampling.frames))
        assert float(Fraction(row["spacing"].removesuffix(" s"))) == pytest.approx(sampling.spacing_s, abs=1e-12)
        if sampling.frames is None:
            assert row["span"] == "the window"
        else:
            assert_printed(row["span"].removesuffix(" s"), sampling.frames * sampling.spacing_s)
        assert row["pixels"] == f"{sampling.size} of {sampling.picture.short_side}"
        assert row["rule"] == sampling.rule
        for column in ("mean", "std") if name in NETWORKS else ():
            for printed, value in zip(row[column].split(), getattr(wanted, column), strict=True):
                assert_printed(printed, value)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_arithmetic_are_those_of_the_network(name: str) -> None:
    for (size, variant), row in rows_by_network(name, "Parameters and GMAC").items():
        expected = dict(facts(name, size, variant))
        assert row.keys() - {"size", "variant"} == expected.keys()
        for column, value in expected.items():
            assert_printed(row[column], value)


def test_videomaes_arithmetic_with_the_patch_embedding_is_what_the_index_says() -> None:
    printed = re.search(r"patch embedding it is (\S+) at base and (\S+) at tiny", index())
    assert printed
    for size, gmac in zip(("base", "tiny"), printed.groups(), strict=True):
        encoder = videomae(size).videomae
        side = encoder.config.image_size
        with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
            encoder(torch.empty(1, 16, 3, side, side))
        assert_printed(gmac, counter.get_total_flops() / 2e9)


class Noise:
    """A support of four clips of noise."""

    labels = np.array([0, 1, 0, 1])

    def frames(self) -> list[np.ndarray]:
        return list(np.random.default_rng(0).integers(0, 256, (4, 1, 16, 64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", ["motion_energy", "motion_features"])
def test_a_cue_learns_as_many_numbers_as_its_card_says(name: str) -> None:
    cue = adapter(name, "tiny")
    cue.fit(Noise())
    learnt = cue.classifier._weights.size + 1  # and the intercept
    assert sections(name)["Parameters and GMAC"].strip() == f"{learnt} numbers are learnt."


@pytest.mark.parametrize("name", OURS)
def test_weights_are_the_catalogues_with_their_licences(name: str) -> None:
    """A probe starts from what the method starts from that reads for it."""
    starter = getattr(registry.load(name), "reader", name)
    published = [weights for weights in catalogue().values() if starter in weights.methods]
    if not published:
        assert sections(name)["Weights"].strip() == "None."
        return
    expected = [
        {
            "name": f"`{weights.name}`",
            "init": f"`{weights.init}`",
            "variant": weights.settings.get("variant", "-"),
            "trained on": weights.trained_on,
            "licence": weights.licence,
        }
        for weights in published
    ]
    by_name = sorted(the_table(name, "Weights"), key=lambda row: row["name"])
    assert by_name == sorted(expected, key=lambda row: row["name"])


@pytest.mark.parametrize("name", NETWORKS)
def test_initial_weights_are_those_that_the_adapter_knows_its_default_first(name: str) -> None:
    first, *others = registry.load(name).inits
    known = ", ".join([f"`{first}` (default)", *(f"`{init}`" for init in (*others, "random"))])
    assert f"\n`--init`: {known}." in sections(name)["Weights"]


@pytest.mark.parametrize("name", OURS)
def test_the_papers_figures_are_quoted_as_reported_or_said_to_be_absent(name: str) -> None:
    said = sections(name)["Deviations from the paper"].strip()
    if name not in REPORTED:
        assert said.startswith("The paper has no such row.")
        return
    row = next(row for row in load_paper() if row.name == REPORTED[name])
    figures = f"bacc {row.balanced_accuracy:.4f}, ROC-AUC {row.roc_auc:.4f}, PR-AUC {row.pr_auc:.4f}."
    assert said.startswith(f'Reported on 40 private clips ("{row.name}"): {figures}')


def index() -> str:
    return (FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_index_lists_every_method_with_its_sizes_and_initial_weights() -> None:
    rows = {row["method"]: row for row in tables(index())[0]}
    assert rows.keys() == {f"[`{name}`]({name}.md)" for name in OURS}
    for name in OURS:
        row, inits = rows[f"[`{name}`]({name}.md)"], registry.load(name).inits
        assert row["sizes"] == (", ".join(SIZES) if inits else "-")
        assert row["initial weights at base"] == (", ".join(f"`{i}`" for i in (*inits, "random")) if inits else "-")


def test_the_index_states_the_range_of_the_tiny_networks() -> None:
    millions = [float(row["parameters (M)"]) for n in NETWORKS for row in the_table(n, "Parameters and GMAC")[:1]]
    assert f"(64 px, {min(millions):.1f} to {max(millions):.1f} M parameters)" in index()


@pytest.mark.parametrize("name", [*OURS, "README"])
def test_links_lead_to_a_file_and_a_heading_that_are_there(name: str) -> None:
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        linked = FOLDER / path
        assert linked.is_file(), target
        headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}, target
    for code in re.findall(r"`((?:benchmark|tests|baselines)/[^` ]*)`", text):
        assert (ROOT / code).exists(), code


def test_the_readme_names_every_method() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = re.search(r"\*\*Baselines\*\*:(.*?)\(\[docs/methods/README\.md\]", readme, flags=re.DOTALL)
    assert listed
    assert set(re.findall(r"`([a-z0-9_]+)`", listed[1])) == set(OURS)
