"""Cards: every number in them is one of the metrics files, and every claim is one that these allow."""

import itertools
import re
import shutil
from statistics import fmean, stdev

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard

from tem_data.cards.tables import glance_rows, published_rows, size_category
from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json, write_json, write_table
from tests.helpers.card_numbers import numbers_of, pool_of, typed, unfounded
from tests.helpers.drawn_study import ARMS, CLASSES, ROOT, TEMPLATES, draw_study, render


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Three studies of one form that share no number: params, folder of results and cards of each."""
    made = []
    for seed in (1, 2, 3):
        results = tmp_path_factory.mktemp("results")
        params = draw_study(results, seed)
        made.append((params, results, render(results, params)))
    return made


@pytest.mark.parametrize("name", ["dataset.md", "ldm.md", "detector.md"])
def test_every_number_of_a_card_is_one_of_the_metrics(studies, name):
    for params, results, cards in studies:
        numbers = numbers_of(cards[name], CLASSES, 3)
        assert len(numbers) > 100
        assert unfounded(numbers, pool_of(results, params)) == []
    assert typed([cards[name] for _, _, cards in studies], CLASSES, 3) == []


def test_every_number_of_the_committed_cards_is_one_of_the_committed_metrics():
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    pool, runs = pool_of(ROOT / "results", params), len(params["study"]["runs"])
    for path in (ROOT / "cards/rendered").glob("*.md"):
        assert unfounded(numbers_of(path.read_text(), [*params["import"]["classes"]], runs), pool) == [], path.name


def test_a_number_that_somebody_typed_into_a_template_is_found(studies, tmp_path):
    planted = "It finds 87 % of all loops: F1_HM is 0.731.\n\n| 12 | -0.04 ± 0.02 |\n\n(n=8)"
    shutil.copytree(TEMPLATES, tmp_path, dirs_exist_ok=True)
    template = tmp_path / "ldm.md.jinja"
    template.write_text(template.read_text().replace("## Intended use", f"{planted}\n\n## Intended use"))
    cards = [render(results, params, tmp_path)["ldm.md"] for params, results, _ in studies]
    assert typed(cards, CLASSES, 3) == ["87", "0.731", "12", "-0.04", "0.02", "8"]
    pool = pool_of(studies[0][1], studies[0][0])
    assert {"87", "12", "8"} <= set(unfounded(numbers_of(cards[0], CLASSES, 3), pool))


ALTERED = [
    ("runs/{cell}/exp_gen/metrics.json", ("f1_class",), ("dataset", "ldm", "detector")),
    ("runs/{cell}/exp/metrics.json", ("threshold_from_validation",), ("detector",)),
    ("runs/{cell}/fidelity.json", ("adherence", "generated", "f1_hm"), ("dataset", "ldm")),
    ("runs/{cell}/fidelity.json", ("pictures", "contrast", "dot", "inside", "ratio"), ("dataset", "ldm")),
    ("runs/{cell}/masks.json", ("classifier", "auc"), ("dataset",)),
    ("runs/{cell}/paint.json", ("defects", "dot", "kept"), ("dataset", "ldm")),
    ("cells/{split_size}/patches.json", ("test", "defects", "loop"), ("dataset",)),
    ("cells/{split_size}/autoencoder.json", ("validation_psnr_db",), ("ldm",)),
    ("import.json", ("scenes",), ("dataset",)),
]


@pytest.mark.parametrize("file, path, changed", ALTERED)
def test_a_metric_that_changes_changes_the_cards_that_say_it(studies, tmp_path, file, path, changed):
    params, results, before = studies[0]
    shutil.copytree(results, tmp_path, dirs_exist_ok=True)
    cell, run = (params["study"][name][-1] for name in ("cells", "runs"))
    altered = tmp_path / file.format(cell=f"{cell}-{run}", split_size=cell)
    content = read_json(altered)
    held = content
    for key in path[:-1]:
        held = held[key]
    held[path[-1]] *= 2
    write_json(altered, content)
    after = render(tmp_path, params)
    assert {name.removesuffix(".md") for name in after if after[name] != before[name]} == set(changed)


def table_of(card, *columns):
    """The rows of the table that has these columns."""
    tables = re.findall(r"^\|(.+)\|\n\|(?: --- \|)+\n((?:\|.*\|\n)+)", card, flags=re.MULTILINE)
    for head, body in tables:
        names = [cell.strip() for cell in head.split("|")]
        if set(columns) <= set(names):
            return [
                dict(zip(names, (cell.strip() for cell in line.split("|")[1:-1]), strict=True))
                for line in body.splitlines()
            ]
    raise AssertionError(f"no table of {columns}")


def mean_and_spread(values):
    return f"{fmean(values):.3f} ± {stdev(values):.3f}"


def test_scores_stand_where_they_belong(studies):
    """Cell by cell, for what is found somewhere may still stand in the wrong line."""
    params, results, cards = studies[0]
    study, head = params["study"], ModelCard(cards["detector.md"]).data
    labels = {v: k for k, v in ARMS.items()}
    rows = table_of(cards["detector.md"], "arm", "F1_detect", "best on test")
    assert len(rows) == 2 * 2 * len(ARMS) and len(head.eval_results) == len(rows) * 3
    for row in rows:
        runs = [
            read_json(results / f"runs/{row['split']}-{row['n']}-{run}/{labels[row['arm']]}/metrics.json")
            for run in study["runs"]
        ]
        for column, key in (("F1_detect", "f1_detect"), ("F1_class", "f1_class"), ("F1_HM", "f1_hm"), ("AP", "ap")):
            assert row[column] == mean_and_spread([run[key] for run in runs])
        assert row["F1 dot"] == mean_and_spread([run["f1_by_class"]["dot"] for run in runs])
        assert row["best on test"] == mean_and_spread([run["best_on_test"]["f1_hm"] for run in runs])
        name = f"quick, simulated: split {row['split']}, n = {row['n']}, {row['arm']}"
        result = {r.metric_name: r for r in head.eval_results if r.dataset_name == name}
        f1 = [run["f1_hm"] for run in runs]
        assert result["F1_HM"].metric_value == round(fmean(f1), 4)
        assert result["F1_HM"].metric_args == {"runs": 3, "standard_deviation": round(stdev(f1), 4)}
        assert result["F1_HM"].dataset_config == f"patches-n{row['n']}-split{row['split']}"


def test_pictures_and_masks_stand_where_they_belong(studies):
    params, results, cards = studies[0]
    for row in table_of(cards["ldm.md"], "F1_HM generated", "memorisation ratio"):
        folders = [results / f"runs/{row['split']}-{row['n']}-{run}" for run in params["study"]["runs"]]
        held = [read_json(folder / "fidelity.json") for folder in folders]
        for kind in ("generated", "real", "reconstructed"):
            assert row[f"F1_HM {kind}"] == mean_and_spread([run["adherence"][kind]["f1_hm"] for run in held])
        ratio = [run["pictures"]["memorisation"]["generated"]["ratio_median"] for run in held]
        assert row["memorisation ratio"] == mean_and_spread(ratio)
    for row in table_of(cards["dataset.md"], "inside", "AUC"):
        held = read_json(results / f"runs/{row['split']}-{row['n']}-{row['run']}/masks.json")
        assert [row["inside"], row["of"], row["outside"]] == [
            str(held["inside"]),
            str(held["distances"]),
            "loop major ks",
        ]
        assert row["AUC"] == f"{held['classifier']['auc']:.3f}"


GAIN = {"split": "all", "size": "4", "arm": "EXP+CP", "score": "f1_hm", "gain_mean": 0.03}


@pytest.mark.parametrize(
    "row, reading",
    [
        ({"pairs": 3, "gain_low": 0.01, "gain_high": 0.05, "p": 0.01}, "helps"),
        ({"pairs": 3, "gain_low": 0.013, "gain_high": 0.044, "p": 0.21}, "helps here; new trainings may not show it"),
        ({"pairs": 3, "gain_low": -0.05, "gain_high": -0.01, "p": 0.001}, "hurts"),
        ({"pairs": 1, "gain_low": -0.05, "gain_high": -0.01, "p": None}, "hurts in this run"),
        ({"pairs": 3, "gain_low": -0.01, "gain_high": 0.05, "p": 0.01}, "may help or hurt"),
        ({"pairs": 3, "gain_low": None, "gain_high": None, "p": 0.01}, "cannot be told from so few scenes"),
    ],
)
def test_a_gain_is_told_with_its_doubts(row, reading):
    runs = {1: {"exp": {"f1_hm": 0.6}, "exp_copypaste": {"f1_hm": 0.63}}}
    baseline, line = glance_rows([{"size": 4, "runs": runs}], [GAIN | row])
    assert (line["so it"], line["gain over EXP"][:6]) == (reading, "+0.030") and "so it" not in baseline


def test_simulated_data_are_called_so_in_title_text_tags_and_results(studies):
    for name, card in studies[0][2].items():
        head = (DatasetCard if name == "dataset.md" else ModelCard)(card).data
        title, warning = re.search(r"^# (.*)\n\n(> \[!WARNING\]\n(?:> .*\n)+)", card, flags=re.MULTILINE).groups()
        assert "simulated" in title and "no microscope took them" in warning and "simulated" in head.tags
        assert all("simulated" in result.dataset_name for result in head.get("eval_results", []))
        assert "none was given" in card and head.license is None


def test_headings_tables_and_code_stand_apart(studies):
    """Markdown runs them into the line before otherwise."""
    for card in studies[0][2].values():
        body = re.sub(r"```.*?```", "```", ModelCard(card).text, flags=re.DOTALL)
        lines = body.splitlines()
        for before, line in itertools.pairwise(lines):
            starts = re.match(r"#|```|- \*\*What", line) or (line.startswith("|") and not before.startswith("|"))
            assert not starts or before == "", line
            assert not (before.startswith("|") and line and not line.startswith("|")), line
        assert "\n\n\n" not in card and "{{" not in card and "None" not in body


def test_what_only_the_owner_knows_is_said_as_given_and_else_called_unknown(tmp_path):
    params = draw_study(tmp_path, 1, license="cc-by-4.0", dataset="org/loops", material="irradiated FeCrAl")
    params["import"]["source"] = "ellipses"
    cards = render(tmp_path, params)
    for card in cards.values():
        assert "imulated data" not in card and "[!WARNING]" not in card and "simulated micrographs" not in card
        assert "**Licence**: <!-- licence -->cc-by-4.0" in card and "irradiated FeCrAl" in card
        assert "Who made them, and how:\nnot recorded" in card and "was not measured" in card
    assert ModelCard(cards["detector.md"]).data.datasets == "org/loops"
    assert DatasetCard(cards["dataset.md"]).data.source_datasets is None
    agreement = {"images": ["a", "b"], "scenes": 2, "a_as_truth": {"f1_hm": 0.7654, "interval": {"f1_hm": [0.7, 0.82]}}}
    write_json(tmp_path / "agreement.json", agreement)
    write_table(tmp_path / "splits.csv", [{"micrograph_id": "a"}], ["micrograph_id"])
    params["cards"] |= {"source": "https://doi.org/10.1/x", "labelled_by": "two experts, in Fiji"}
    cards = render(tmp_path, params)
    assert DatasetCard(cards["dataset.md"]).data.source_datasets is None  # the Hub knows no others than its own
    for card in cards.values():
        assert "Who made them, and how:\ntwo experts, in Fiji" in card and "10.1/x" in card
        assert re.search(r"labelled 2 images in 2 scenes agree with F1_HM\n0.765 \[0.700, 0.820\]", card)
    write_table(tmp_path / "splits.csv", [{"micrograph_id": "of another material"}], ["micrograph_id"])
    card = render(tmp_path, params | {"cards": {"source": "org/others"}})["dataset.md"]
    assert "was not measured" in card
    assert DatasetCard(card).data.source_datasets == ["org/others"]
    with pytest.raises(TemDataError, match="cards.licence: unknown key"):
        render(tmp_path, params | {"cards": {"licence": "mit"}})


def test_a_study_without_generated_pairs_has_no_card_of_them(tmp_path):
    params = draw_study(tmp_path, 1)
    params["study"] |= {"arms": ["exp"], "added": [], "models": [], "generated": []}
    params["study"] |= {"painted": [], "copy_paste": []}
    (tmp_path / "study/gains.csv").write_text("split,size,arm,score\n")
    cards = render(tmp_path, params)
    assert set(cards) == {"dataset.md", "detector.md"}
    assert not re.search(
        "generated|LDM|GEN|synthetic", DatasetCard(cards["dataset.md"]).text.partition("## How to make")[0]
    )
    (tmp_path / "runs").joinpath("-".join(str(params["study"][k][0]) for k in ("cells", "runs"))).rename(
        tmp_path / "gone"
    )
    with pytest.raises(TemDataError, match="metrics.json is missing; run `dvc repro`"):
        render(tmp_path, params)


def test_what_small_data_cannot_tell_is_left_open(tmp_path):
    """Single scenes have no divisions, few pictures no KID and no neighbours, few tiles no AUC."""
    params = draw_study(tmp_path, 1)
    study = params["study"]
    run = f"{study['cells'][0]}-{study['runs'][0]}"
    for file, change in (
        ("fidelity.json", lambda f: f["pictures"].update(memorisation=None)),
        ("fidelity.json", lambda f: f["pictures"]["distances"].pop("kid")),
        ("fidelity.json", lambda f: f["pictures"]["distances"]["grey"]["micrographs"].update(median=None)),
        ("fidelity.json", lambda f: f["pictures"]["contrast"]["dot"]["inside"].update(ratio=None)),
        ("masks.json", lambda f: f["classifier"].update(auc=None, real_interval=None)),
        ("exp/metrics.json", lambda f: f.update(ap=None, interval={})),
    ):
        content = read_json(tmp_path / "runs" / run / file)
        change(content)
        write_json(tmp_path / "runs" / run / file, content)
    cards = render(tmp_path, params)
    (pictures,) = (r for r in table_of(cards["ldm.md"], "memorisation ratio") if _is_first(r, study))
    assert pictures["memorisation ratio"] == pictures["of real patches"] == "–" != pictures["F1_HM generated"]
    textures = {r["quantity"]: r for r in table_of(cards["ldm.md"], "quantity") if _is_first(r, study)}
    assert textures["distance of grey levels"]["other micrographs"] == "–"
    assert textures["contrast dot over that of real ones"]["generated"] == "–"
    scores = [r for r in table_of(cards["detector.md"], "AP") if _is_first(r, study)]
    assert [row["AP"] == "–" for row in scores] == [True] + [False] * (len(ARMS) - 1)
    assert len([r for r in ModelCard(cards["ldm.md"]).data.eval_results if r.metric_type == "kid"]) == 3


def _is_first(row, study):
    return f"{row['split']}-{row['n']}" == study["cells"][0]


@pytest.mark.parametrize(
    "rows, category",
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (100_000, "100K<n<1M")]
    + [(5_000_000, "1M<n<10M"), (10**12, "n>1T")],
)
def test_size_category(rows, category):
    assert size_category(rows) == category


def test_rows_of_a_dataset():
    cell = {"patches": {"train": {"patches": 80}, "test": {"patches": 12}}}
    assert published_rows([cell], 5) == 97
    cell |= {"fidelity": {1: {"adherence": {"generated": {"pairs": 40}}}}, "paint": {1: {"masks": 40, "patches": 30}}}
    assert published_rows([cell], 5) == 97 + 40 + 40 + 30
