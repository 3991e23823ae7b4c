import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

from tem_data.cli import app, main
from tem_data.cli.app import STEPS
from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json, read_table
from tem_data.core.micrograph import Micrograph, count_by_class, touches_edge
from tem_data.core.schema import Classes, read_classes, read_dataset, write_dataset
from tem_data.detection.detector import Detector
from tem_data.fidelity import adherence
from tem_data.fidelity import steps as measuring
from tem_data.judges import confirming, judges
from tem_data.simulation import steps as simulation
from tests.helpers.processes import OF_THIS_CHECKOUT, ROOT
from tests.helpers.toy_detector import stand_in
from tests.helpers.toy_ldm import mask_micrographs, toy, untrained

SQUARE = [[2, 2, 12, 2, 12, 12, 2, 12]]
FAR = [[30, 30, 40, 30, 40, 40, 30, 40]]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs a command in an empty folder; gives what it printed, or the error that it stopped with."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["tem-data", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        return capsys.readouterr().out if stop.value.code == 0 else stop.value.code

    return call


@pytest.fixture
def coco(tmp_path):
    """Two images, one truth each; one is found, the other called by the wrong name, and one find is false."""
    annotations = [
        {"image_id": 1, "category_id": 7, "segmentation": SQUARE, "bbox": [2, 2, 10, 10]},
        {"image_id": 2, "category_id": 9, "segmentation": FAR, "bbox": [30, 30, 10, 10]},
    ]
    truth = {
        "images": [{"id": 1, "height": 48, "width": 64}, {"id": 2, "height": 48, "width": 64}],
        "categories": [{"id": 7, "name": "111"}, {"id": 9, "name": "bdot"}],
        "annotations": annotations,
    }
    results = [{**annotations[0], "score": 0.85}, {**annotations[1], "category_id": 7, "score": 0.85}]
    results.append({**annotations[0], "image_id": 2, "score": 0.85})
    for name, content in (("truth.json", truth), ("results.json", results)):
        (tmp_path / name).write_text(json.dumps(content))


HELP = {
    "import": "labelled micrographs of your own",
    "simulate": "simulated micrographs",
    "split": "by whole scenes",
    "patch": "Cut patches",
    "fit-shapes": "how large",
    "sample-masks": "new multi-class masks",
    "train-ldm": "latent diffusion",
    "generate": "Paint a micrograph on every mask",
    "paint": "Paint new defects into real patches",
    "fidelity": "do they show their masks",
    "train-detector": "Train Mask R-CNN",
    "predict": "Find and measure the defects",
    "suggest": "worth labelling next",
    "score": "Score predictions",
    "agree": "two sets of labels",
    "measure": "Measure sizes",
    "export": "for other programs",
    "compare-masks": "more than these do among themselves",
    "copy-paste": "the control that generated pairs must beat",
    "app": "page in the browser",
    "publish": "one commit and one tag",
    "pull": "instead of running the stages",
    "init": "a calibration table to fill in",
    "settings": "all settings with their defaults",
}


def plain(text):
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", text).split())


def test_every_command_is_described():
    assert set(get_command(app).commands) == set(HELP)


def test_commands_are_listed_in_the_order_of_the_steps():
    assert tuple(get_command(app).commands) == STEPS


@pytest.mark.parametrize("command, said", HELP.items())
def test_help_says_what_a_command_does(run, command, said):
    assert said in plain(run(command, "--help"))


def test_score_prints_the_known_answer(run, coco):
    """3 finds, 2 right: precision 2/3, recall 1, F1_detect 0.8; 111 has F1 2/3 and bdot 0, so F1_class 1/3."""
    rows = [line.split("│") for line in run("score", "truth.json", "results.json").splitlines() if "│" in line]
    best = [cell.strip() for row in rows for cell in row if any("*" in cell for cell in row)][1:9]
    assert best[1:] == ["0.667", "1.000", "0.800", "0.333", "0.471", "0.667", "0.000"]


def test_score_prints_json(run, coco):
    content = json.loads(run("score", "truth.json", "results.json", "--json", "--match", "box"))
    assert content["images"] == 2 and content["warnings"] == []
    assert (content["best"]["f1_detect"], content["best"]["f1_class"]) == pytest.approx((0.8, 1 / 3))


def test_score_can_count_what_matches_an_ignored_truth_as_false(run, coco):
    words = ("score", "truth.json", "results.json", "--json", "--ignore", "bdot")
    precision = [json.loads(run(*words, *more))["best"]["precision"] for more in ((), ("--no-ignore-ambiguous",))]
    assert precision == pytest.approx([1 / 2, 1 / 3])


def test_the_steps_that_need_no_network_follow_each_other(run):
    run("simulate", "-o", "micrographs", "--count", 8, "--size-px", 96)
    assert len(list(read_dataset("micrographs"))) == 8
    run("split", "micrographs", "-o", "splits.csv", "--test", 2, "--validation", 1, "--count", 2)
    roles = [row["split2_role"] for row in read_table("splits.csv")]
    assert sorted(roles) == ["test"] * 2 + ["train"] * 5 + ["validation"]
    by_percent = ("--scheme", "leave_out_percent", "--percents", "25,50", "--validation", 1)
    assert "left out: 50 % (test is 50.0 %)" in run("split", "micrographs", "-o", "percents.csv", *by_percent)

    cut = ("--size", 32, "--stride", 16, "--count", 20, "--n", 5, "--split", 2)
    assert "20 train, 9 validation, 18 test" in run("patch", "micrographs", "splits.csv", "-o", "patches", *cut)
    trained_on = {m.micrograph_id for m in read_dataset("patches", "train")}
    assert trained_on <= {row["micrograph_id"] for row in read_table("splits.csv") if row["split2_role"] == "train"}

    run("fit-shapes", "micrographs", "-o", "shapes.json", "--splits", "splits.csv", "--n", 5, "--split", 2)
    fitted = read_json("shapes.json")
    assert len(fitted["fields"]) == 4 and fitted["unit"] == "nm"
    assert {field["micrograph_id"] for field in fitted["fields"]} >= trained_on

    run("sample-masks", "shapes.json", "-o", "masks", "--count", 3, "--size-px", 32, "--seed", 5)
    masks = list(read_dataset("masks", "train"))
    assert [m.micrograph_id for m in masks] == [f"sim-5-00000{i}" for i in range(3)]
    assert read_classes("masks").names == tuple(fitted["classes"]) and count_by_class(masks)

    run(
        "sample-masks",
        "shapes.json",
        "-o",
        "all",
        "--count",
        3,
        "--size-px",
        32,
        "--seed",
        5,
        "--min-area-px",
        32**2 + 1,
    )
    for mask in read_dataset("all", "train"):
        assert [d.ignore for d in mask.defects] == [touches_edge(d, mask.shape) for d in mask.defects]


def test_import_of_mask_images(run, tmp_path):
    for folder, value in (("images", 90), ("labels", 0)):
        (tmp_path / folder).mkdir()
        picture = Image.new("L", (64, 48), value)
        if folder == "labels":
            picture.paste(1, (10, 10, 20, 20))
        picture.save(tmp_path / folder / "a.png")
    out = run("import", "images", "labels", "-o", "own", "--source", "masks", "--classes", "loop", "--ignored", "")
    assert "1 micrographs" in out
    (micrograph,) = read_dataset("own")
    assert [(d.category, d.bbox) for d in micrograph.defects] == [("loop", (10, 10, 10, 10))]
    assert (tmp_path / "quarantine.csv").exists()

    (tmp_path / "maps").mkdir()
    numbers = Image.new("I;16", (64, 48))
    for number, left in ((1, 10), (2, 15)):
        numbers.paste(number, (left, 10, left + 5, 20))
    numbers.save(tmp_path / "maps" / "a.png")
    words = ("import", "images", "labels", "-o", "two", "--source", "masks", "--classes", "loop", "--ignored", "")
    run(*words, "--instances", "maps")
    assert [d.bbox for d in next(read_dataset("two")).defects] == [(10, 10, 5, 10), (15, 10, 5, 10)]


def test_import_of_an_ellipse_table_of_other_columns_and_of_images_that_overlap(run, tmp_path):
    (tmp_path / "images").mkdir()
    scene = np.random.default_rng(0).integers(0, 256, (64, 96)).astype(np.uint8)
    for name, left in (("a", 0), ("b", 32)):
        Image.fromarray(scene[:, left : left + 64]).save(tmp_path / "images" / f"{name}.png")
    rows = ("a.png,dot,20,20,6,6,0", "b.png,dot,30,30,6,6,0")
    (tmp_path / "e.csv").write_text("\n".join(("file_name,class,X,Y,major_px,minor_px,angle_deg", *rows)))
    words = ("import", "images", "e.csv", "--source", "ellipses", "--classes", "dot", "--ignored", "")
    assert "2 micrographs in 1 scenes" in run(*words, "-o", "one", "--columns", "x=X,y=Y")
    (row,) = read_table("overlaps.csv")
    assert (row["id_a"], row["id_b"], float(row["dx_px"])) == ("a", "b", pytest.approx(32, abs=1))
    apart = ("--min-overlap", 0.9, "--overlaps", "none.csv")
    assert "2 micrographs in 2 scenes" in run(*words, "-o", "two", "--columns", "x=X,y=Y", *apart)
    assert read_table("none.csv") == []
    assert "expected name=value, with commas between, found 'x'" in run(*words, "-o", "three", "--columns", "x")


def test_pairs_of_other_classes_are_not_trained_on(run):
    for folder, names in (("patches", ("100", "111")), ("pairs", ("100", "dot"))):
        write_dataset(folder, {"train": [Micrograph("m", np.zeros((8, 8), np.uint8), (), (8, 8))]}, Classes(names))
    Path("params.yaml").write_text("detector: {iterations: 1}")
    assert run("train-detector", "patches", "--generated", "pairs", "-o", "out") == (
        "error: pairs: classes ['100', 'dot']; expected ['100', '111'], as patches has them: import or sample with the "
        "same classes"
    )


@pytest.fixture
def judged(run, monkeypatch):
    """Patches, an LDM, and pairs of which every second is blank; judges find all that is labelled on real patches.

    Gives a list of how long each judge was trained.
    """
    run("simulate", "-o", "micrographs", "--count", 6, "--size-px", 96)
    run("split", "micrographs", "-o", "splits.csv", "--test", 1, "--validation", 1)
    run("patch", "micrographs", "splits.csv", "-o", "patches", "--size", 32, "--stride", 16, "--count", 24, "--n", 5)
    training = list(read_dataset("patches", "train"))
    drawn = [replace(p, micrograph_id=f"g{i}", image=p.image * (i % 2)) for i, p in enumerate(training)]
    write_dataset("pairs", {"train": drawn}, read_classes("patches"))
    untrained().save_pretrained("ldm")
    Path("params.yaml").write_text(
        "{detector: {iterations: 900}, judges: {folds: 2, iterations: 7}, evaluate: {thresholds: [0.5]}}"
    )
    known = {p.image.tobytes(): p.defects for p in (*training, *read_dataset("patches", "validation"))}
    detector, trained = stand_in(None, read_classes("patches").names), []

    def train(patches, classes, settings, seed, work):
        trained.append(settings.iterations)
        return detector, []

    def predict(detector, images):
        return [tuple(replace(d, score=0.9) for d in known.get(i.tobytes(), ()) if not d.ignore) for i in images]

    monkeypatch.setattr(judges, "train_detector", train)
    monkeypatch.setattr(Detector, "save_pretrained", lambda self, folder: folder.mkdir(parents=True))
    monkeypatch.setattr(Detector, "from_pretrained", lambda folder: detector)
    monkeypatch.setattr(adherence, "predict_patches", predict)
    monkeypatch.setattr(measuring, "detector_features", lambda _, images: images[:, ::8, 3].astype(float))
    monkeypatch.setattr(measuring, "_draw", lambda *_: None)
    return trained


def test_defects_are_painted_into_patches_and_confirmed(run, judged, monkeypatch):
    patches = [replace(p, image=image) for p, image in zip(mask_micrographs(4), toy(4, 3).images, strict=True)]
    write_dataset("squares", {"train": [replace(p, defects=()) for p in patches]}, Classes(("square",)))
    write_dataset("masks", {"train": [replace(p, image=None) for p in patches]}, Classes(("square",)))
    Path("params.yaml").write_text("{paint: {share: 1.0}, generate: {num_inference_steps: 2}, judges: {iterations: 7}}")
    words = ("paint", "ldm", "squares", "masks", "-o", "painted")
    assert "kept 4 of 4 square" in run(*words, "--set", "paint.confirm=null")
    assert {p.origin for p in read_dataset("painted", "train")} == {"paint"} and not judged

    labelled = [replace(p, defects=p.defects) for p in patches]
    write_dataset("squares", {"train": labelled}, Classes(("square",)))
    detector = stand_in(None, ("square",))
    monkeypatch.setattr(Detector, "from_pretrained", lambda folder: detector)
    monkeypatch.setattr(confirming, "predict_patches", lambda detector, images, progress: [()] * len(images))
    printed = run(*words[:-1], "judged", "--judges", "judges")
    assert judged == [7, 7] and re.search(r"kept 0 of \d square", printed) and Path("judges/1/scenes.json").is_file()
    for painted in read_dataset("judged", "train"):
        original = next(p for p in labelled if p.micrograph_id == painted.micrograph_id)
        assert np.array_equal(painted.image, original.image) and len(painted.defects) == len(original.defects)


FIDELITY = ("fidelity", "patches", "pairs", "--ldm", "ldm")


def test_generated_pairs_are_compared_with_real_ones(run, judged):
    assert "not seen with 1.000" in run(*FIDELITY, "-o", "out", "--judges", "judges")
    assert "Generated pictures of pairs" in Path("out/report.html").read_text()
    assert not list(Path().glob(".out*")) and judged == [7, 7]
    run(*FIDELITY, "-o", "again", "--judges", "judges")
    assert judged == [7, 7] and read_json("again/fidelity.json") == read_json("out/fidelity.json")

    pairs = {p.micrograph_id: p for p in read_dataset("pairs")}
    blank = [
        row
        for row in read_table("out/adherence.csv")
        if row["kind"] == "generated" and not pairs[row["micrograph_id"]].image.any()
    ]
    assert len(blank) == 12 and all(float(row["found"]) == 0 for row in blank)


def test_a_comparison_that_stops_leaves_its_judges_and_no_report(run, judged, monkeypatch):
    def stop(*_):
        raise TemDataError("stopped")

    monkeypatch.setattr(measuring, "_draw", stop)
    assert run(*FIDELITY, "-o", "out") == "error: stopped"
    assert [path.name for path in Path().glob("*out*")] == [".out.judges.work"]
    assert "no rows of split 'train'" in run("fidelity", "micrographs", "pairs", "--ldm", "ldm", "-o", "new")
    assert "latent diffusion model gone" in run("fidelity", "patches", "pairs", "--ldm", "gone", "-o", "new")
    assert judged == [7, 7]


def test_a_folder_is_of_the_command_that_came_first(run, monkeypatch):
    """Also before it has written anything, and where the other would have been done in the meantime."""
    command = [sys.executable, "-m", "tem_data.cli", "simulate", "-o", "out", "--count", "1", "--size-px", "64"]
    others = []

    def simulate(**settings):
        others.append(subprocess.run(command, env=OF_THIS_CHECKOUT, capture_output=True, text=True))
        return simulated(**settings)

    simulated = simulation.simulate
    monkeypatch.setattr(simulation, "simulate", simulate)
    run("simulate", "-o", "out", "--count", 2, "--size-px", 64)
    assert [(other.returncode, other.stdout) for other in others] == [(1, "")]
    assert others[0].stderr.startswith("error: out: another process is writing it")
    assert len(list(read_dataset("out"))) == 2 and [path.name for path in Path().iterdir()] == ["out"]
    assert run("simulate", "-o", "new", "--count", "two") == 2
    assert [path.name for path in Path().iterdir()] == ["out"]


PARAMS = ("--params", "params.yaml")


@pytest.mark.parametrize(
    "words", [("patch", "gone", "splits.csv", "-o", "x"), ("fit-shapes", "gone", "-o", "x", "--splits", "splits.csv")]
)
def test_a_micrograph_in_training_and_test_is_refused(run, words):
    rows = ("m0,s0,train,1", "m1,s1,validation,1", "m0,s0,test,1")
    Path("splits.csv").write_text("\n".join(("micrograph_id,scene,split1_role,split1_rank", *rows)))
    assert run(*words) == "error: splits.csv row 4: 'm0' is there twice; expected one row a micrograph"


@pytest.mark.parametrize(
    "words, said",
    [
        (("import", "gone", "gone.json", "-o", "x"), "gone"),
        (("split", "gone", "-o", "x", "--test", 1, "--validation", 1), "gone/README.md"),
        (("split", "gone", "-o", "x", "--percents", "ten"), "--percents: expected values with commas between"),
        (("patch", "gone", "gone.csv", "-o", "x"), "gone.csv"),
        (("fit-shapes", "gone", "-o", "x"), "gone/README.md"),
        (("sample-masks", "gone.json", "-o", "x"), "gone.json"),
        (("sample-masks", "bad.json", "-o", "x"), "bad.json: not a JSON file"),
        (("train-ldm", "gone", "-o", "x", *PARAMS), "gone"),
        (("train-detector", "gone", "-o", "x", *PARAMS), "gone/README.md"),
        (("predict", "gone", "gone", "-o", "x"), "gone"),
        (("score", "gone.json", "gone.json"), "gone.json"),
        (("score", "bad.json", "bad.json"), "bad.json: not a JSON file"),
        (("train-ldm", "gone", "-o", "x", "--params", "bad.json"), "bad.json: not a YAML file"),
        (("train-ldm", "gone", "-o", "x", "--params", "list.yaml"), "list.yaml: expected sections of settings"),
        (("train-ldm", "gone", "-o", "x", "--params", "wrong.yaml"), "wrong.yaml, ldm.steps: expected a whole number"),
        (("train-ldm", "gone", "-o", "x", "--set", "ldm.steps=-1"), "ldm.steps: expected a whole number of 1 or more"),
        (("train-ldm", "gone", "-o", "x", "--set", "steps"), "--set steps: expected section.key=value"),
        (("import", "gone", "gone", "-o", "x", "--frame", "0"), "--frame: expected a whole number of 1 or more"),
        (("sample-masks", "bad.json", "-o", "x", "--density", "-1"), "--density: expected a number of 0 or more"),
        (("generate", "gone", "gone", "-o", "x"), "gone"),
        (("fidelity", "gone", "gone", "--ldm", "gone", "-o", "x", "--params", "judges.yaml"), "gone/README.md"),
        (("fidelity", "gone", "gone", "--ldm", "gone", "-o", "x", *PARAMS), "gone/README.md"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(run, tmp_path, words, said):
    (tmp_path / "bad.json").write_text("{\n'")
    (tmp_path / "list.yaml").write_text("[1]")
    (tmp_path / "wrong.yaml").write_text("{ldm: {steps: many}}")
    (tmp_path / "params.yaml").write_text("{autoencoder: {}, ldm: {}, generate: {}, detector: {}}")
    (tmp_path / "judges.yaml").write_text("{detector: {}, judges: {}, evaluate: {thresholds: [0.5]}}")
    error = run(*words)
    assert str(error).startswith("error: ") and "\n" not in error and said in error
    assert not (tmp_path / "x").exists()


def test_an_error_goes_to_stderr_without_a_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tem_data.cli", "score", tmp_path / "gone.json", "b.json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
