import json
import shutil
from dataclasses import replace
from math import pi, sqrt
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from typer.testing import CliRunner

import tem_data.cli.measure  # noqa: F401  (adds its command)
from tem_data.cli.app import app
from tem_data.coco.found import coco_found
from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json, read_table
from tem_data.core.micrograph import Defect, Micrograph, defect_from_ellipse, window
from tem_data.core.schema import Classes, write_micrographs
from tem_data.materials.coco import measure_coco
from tem_data.materials.hardening import Materials, frame_area_px, frame_count, hardening_mpa
from tem_data.materials.measuring import DEFECT_COLUMNS, MICROGRAPH_COLUMNS, measure
from tem_data.materials.outlines import circularity, dot_size, loop_size, outline_of
from tem_data.materials.quantities import error_statistics, percent_error
from tem_data.patches.cutting import tiles
from tem_data.scoring import Rule

CLASSES = ("111", "bdot")


def ellipse(x, y, major, minor=None, angle=0, category="111", shape=(512, 512)):
    return defect_from_ellipse(category, x, y, major, minor or major, angle, shape)


def square(x, y, side, category="111", score=1.0):
    return Defect(category, x, y, np.ones((side, side), bool), score=score)


def micrograph(*defects, name="m", side=100, nm_per_px=0.5, thickness_nm=100.0):
    return Micrograph(name, None, defects, (side, side), nm_per_px, thickness_nm)


# Size and shape


@pytest.mark.parametrize("major, minor, angle", [(40, 40, 0), (60, 30, 0), (60, 30, 33), (81, 20, 90)])
def test_an_ellipse_has_the_size_and_circularity_of_geometry(major, minor, angle):
    outline = outline_of(ellipse(100.3, 100.8, major, minor, angle).mask)
    h = ((major - minor) / (major + minor)) ** 2
    perimeter = pi / 2 * (major + minor) * (1 + 3 * h / (10 + sqrt(4 - 3 * h)))  # Ramanujan
    assert loop_size(outline) == pytest.approx(major, abs=1.1)  # the farthest pixel corner of a drawn ellipse
    assert dot_size(outline) == pytest.approx(sqrt(major * minor), abs=0.7)
    assert circularity(outline) == pytest.approx(perimeter / (pi * sqrt(major * minor)), rel=0.01)


def test_a_square_has_the_size_and_circularity_of_geometry():
    outline = outline_of(np.ones((40, 40), bool))
    assert loop_size(outline) == pytest.approx(40 * sqrt(2), abs=0.8)  # the outline rounds its corners
    assert dot_size(outline) == pytest.approx(40 * 2**0.25, abs=0.8)
    assert circularity(outline) == pytest.approx(2 / sqrt(pi), rel=0.01)


def test_a_ring_is_as_large_as_its_disc_and_stray_pixels_are_no_size():
    disc = np.pad(ellipse(30, 30, 40).mask, ((0, 0), (0, 30)))
    ring = disc.copy()
    ring[10:30, 10:30] = False
    ring[0, -2:] = True
    whole, other = outline_of(disc), outline_of(ring)
    assert np.array_equal(whole.points, other.points) and np.array_equal(whole.centroid, other.centroid)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))).filter(np.any))
def test_no_outline_is_rounder_than_a_disc_and_none_depends_on_the_margin(mask):
    outline, wide = outline_of(mask), outline_of(np.pad(mask, 3))
    assert circularity(outline) >= 1 and dot_size(outline) <= loop_size(outline) + 1e-9
    assert loop_size(outline) == pytest.approx(loop_size(wide))


# Hardening


def test_ten_loops_of_30_nm_harden_by_24_29_mpa():
    density = 10 / ((1024 * 0.478516) ** 2 * 100)
    assert hardening_mpa("111", density, [30] * 10) == pytest.approx(24.29, abs=0.005)
    ten = [square(90 * i + 20, 200, 40) for i in range(10)]
    found = micrograph(*ten, side=1024, nm_per_px=0.478516)
    size = loop_size(outline_of(ten[0].mask)) * 0.478516
    row = measure([found], None, CLASSES).micrographs[0]
    for key in ("linear", "quadrature"):
        assert row[f"true_hardening_{key}_mpa"] == pytest.approx(24.29 * sqrt(size / 30), rel=1e-3)


def test_sizes_add_in_quadrature_or_linearly_over_bins():
    one = hardening_mpa("100", 1e-6, [20])
    assert hardening_mpa("100", 2e-6, [10, 30]) == pytest.approx(sqrt(2) * one)
    linear = Materials(bins="linear", bin_width_nm=5)
    parts = [hardening_mpa("100", 1e-6, [size]) for size in (10, 30)]
    assert hardening_mpa("100", 2e-6, [10, 30], linear) == pytest.approx(sum(parts))
    assert hardening_mpa("100", 2e-6, [10, 30], replace(linear, bin_width_nm=100)) == pytest.approx(sqrt(2) * one)


def test_what_has_no_hardening():
    assert hardening_mpa("void", 1e-6, [10]) is None and hardening_mpa("111", 1e-6, []) is None
    assert hardening_mpa("111", 0.0, []) == 0.0


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"size": {"bdot": "round"}}, "materials.size.bdot"),
        ({"size": "loop"}, "materials.size"),
        ({"barrier_strength": {"111": "x"}}, "materials.barrier_strength.111"),
        ({"barrier_strength": None}, "materials.barrier_strength"),
        ({"burgers_nm": 0}, "materials.burgers_nm"),
        ({"bins": "sum"}, "materials.bins"),
    ],
)
def test_settings_that_cannot_be_are_named(wrong, said):
    with pytest.raises(TemDataError, match=said):
        Materials(**wrong)


def test_a_class_may_be_a_number_in_yaml():
    assert Materials(barrier_strength={100: 0.3}).barrier_strength == {"100": 0.3}


# The counting frame


def parts(defect, size, step, count):
    """What each of `count`² windows of `size` px, `step` px apart, holds of a defect."""
    corners = ((x, y) for y in range(0, step * count, step) for x in range(0, step * count, step))
    cut = (window(defect, x, y, (size, size)) for x, y in corners)
    return [part for part in cut if part is not None]


def test_frames_that_share_their_edges_count_each_of_many_discs_once():
    rng = np.random.default_rng(0)
    for x, y, diameter in zip(*rng.uniform(40, 280, (2, 100)), rng.uniform(3, 70, 100), strict=True):
        pieces = parts(ellipse(x, y, diameter), 33, 32, 10)
        assert sum(frame_count(piece, (33, 33)) for piece in pieces) == 1


@pytest.mark.parametrize("major, minor, angle", [(2, 2, 0), (9, 9, 0), (20, 6, 45), (20, 6, 120), (40, 30, 10)])
def test_the_frame_is_unbiased_at_every_place(major, minor, angle):
    defect, side = ellipse(100, 100, major, minor, angle), 24
    x, y, w, h = defect.bbox
    places = [window(defect, i, j, (side, side)) for i in range(x - side, x + w) for j in range(y - side, y + h)]
    assert sum(frame_count(p, (side, side)) for p in places if p is not None) == frame_area_px((side, side))


def test_a_disc_around_a_corner_that_it_does_not_cover_counts_once():
    pieces = parts(ellipse(37, 37, 12), 33, 32, 2)
    assert sorted(frame_count(p, (33, 33)) for p in pieces) == [0, 0.5, 0.5]


def test_tiles_of_a_micrograph_are_taken_together():
    rng = np.random.default_rng(1)
    discs = [ellipse(x, y, 12, shape=(256, 256)) for x, y in rng.uniform(0, 256, (60, 2))]
    whole = measure([micrograph(*discs, side=256)], None, CLASSES, frame=True).micrographs
    defects, merged, _ = measure(list(tiles([micrograph(*discs, side=256)], 64)), None, CLASSES, frame=True)
    assert len(merged) == len(whole) == 3 and merged[0]["area_nm2"] == 16 * 63**2 * 0.25
    density = "true_areal_density_1e-4_per_nm2"
    assert merged[0][density] == pytest.approx(whole[0][density], rel=0.1)
    sizes = [d["size_nm"] for d in defects if d["whole"]]
    assert np.allclose(sizes, 6, atol=0.5) and len(sizes) == merged[0]["true_whole"] < 60


# Measurements


def compared():
    """Three truths and three predictions: two found, of which one is called by the wrong name, and one is false."""
    truths = [square(10, 10, 10), square(50, 10, 20), square(0, 60, 10, "bdot")]
    found = [square(10, 10, 12), square(50, 10, 20, "bdot"), square(80, 80, 10)]
    return measure([micrograph(*truths)], [found], CLASSES, Materials(size={}))


def test_rows_hold_the_known_answers():
    rows = {row["category"]: row for row in compared().micrographs}
    loops, size = rows["111"], {side: loop_size(outline_of(np.ones((side, side), bool))) / 2 for side in (10, 12, 20)}
    assert (loops["true_count"], loops["predicted_count"], rows["bdot"]["true_cut"]) == (2, 2, 1)
    assert loops["true_areal_density_1e-4_per_nm2"] == pytest.approx(2 / 2500 * 1e4)
    assert loops["true_volume_density_1e21_per_m3"] == pytest.approx(2 / (2500 * 100) * 1e27 / 1e21)
    assert loops["true_mean_size_nm"] == pytest.approx((size[10] + size[20]) / 2)
    assert loops["predicted_mean_size_nm"] == pytest.approx((size[12] + size[10]) / 2)
    assert loops["found_mean_size_nm_error_percent"] == pytest.approx(
        100 * (size[12] - size[10]) / (size[10] + size[20])
    )
    assert loops["areal_density_1e-4_per_nm2_error_percent"] == 0
    assert rows["bdot"]["true_mean_size_nm"] is None and rows["bdot"]["mean_size_nm_error_percent"] is None
    total = rows["all"]
    assert total["true_count"] == 3 and total["predicted_mean_size_nm"] == pytest.approx(
        (size[12] + size[20] + size[10]) / 3
    )
    parts = [rows[name]["true_hardening_linear_mpa"] for name in CLASSES]
    assert total["true_hardening_linear_mpa"] == pytest.approx(sum(parts))
    assert total["true_hardening_quadrature_mpa"] == pytest.approx(np.hypot(*parts))


def test_every_defect_is_a_row_and_a_pair_has_one_number():
    rows = compared().defects
    assert all(set(row) == set(DEFECT_COLUMNS) for row in rows)
    assert [(r["source"], r["category"], r["whole"], r["found"], r["pair"]) for r in rows] == [
        ("truth", "111", True, True, 0),
        ("truth", "111", True, True, 1),
        ("truth", "bdot", False, False, None),
        ("prediction", "111", True, True, 0),
        ("prediction", "bdot", True, True, 1),
        ("prediction", "111", True, False, None),
    ]
    assert (rows[0]["x_px"], rows[0]["y_px"]) == (15, 15)


def test_errors_over_micrographs_and_pooled():
    truths = [micrograph(*[square(20 * i + 2, 40, 10) for i in range(n)], name=f"{n}") for n in (2, 4)]
    found = [truths[0].defects[:1], (*truths[1].defects, square(60, 80, 10))]
    by_class = measure(truths, found, CLASSES).summary["classes"]["111"]
    density = by_class["per_micrograph"]["areal_density_1e-4_per_nm2"]
    assert density["percent_error"] == pytest.approx(
        {"mean_absolute": 37.5, "std_absolute": np.std([50, 25], ddof=1), "mean": -12.5, "std": 75 / sqrt(2), "n": 2}
    )
    assert density["error"]["mean_absolute"] == pytest.approx(1 / 2500 * 1e4)
    assert by_class["pooled"]["areal_density_1e-4_per_nm2_error_percent"] == pytest.approx(0)


def test_what_is_not_known_is_left_out_and_counted():
    known, bare = micrograph(square(20, 20, 10), name="known"), square(20, 20, 40)
    images = [known, micrograph(bare, name="a", nm_per_px=None), micrograph(bare, name="b", thickness_nm=None)]
    result = measure(images, None, ("111", "void"))
    summary, pooled = result.summary, result.summary["classes"]["111"]["pooled"]
    assert (summary["without_nm_per_px"], summary["without_thickness_nm"]) == (["a"], ["b"])
    assert summary["without_barrier_strength"] == ["void"]
    assert pooled["true_count"] == 3 and pooled["true_areal_density_1e-4_per_nm2"] == pytest.approx(2 / 5000 * 1e4)
    alone = measure([known], None, ("111", "void")).summary["classes"]
    for name in ("true_volume_density_1e21_per_m3", "true_hardening_linear_mpa"):
        assert pooled[name] == pytest.approx(alone["111"]["pooled"][name])
    assert alone["void"]["pooled"]["true_hardening_linear_mpa"] is None
    assert alone["all"]["pooled"]["true_hardening_linear_mpa"] == alone["111"]["pooled"]["true_hardening_linear_mpa"]
    assert result.defects[1]["size_nm"] is None and result.defects[1]["size_px"] > 40


def test_what_is_ambiguous_is_not_measured():
    unsure = replace(square(60, 60, 20), ignore=True)
    images, found = [micrograph(square(10, 10, 10), unsure)], [[square(60, 60, 20)]]
    row = measure(images, found, CLASSES).micrographs[0]
    assert (row["true_count"], row["predicted_count"]) == (1, 0)
    assert measure(images, found, CLASSES, rule=Rule(ignore_ambiguous=False)).micrographs[0]["predicted_count"] == 1


def test_percent_errors_and_their_statistics():
    assert percent_error(2.0, 1.5) == -25 and percent_error(0.0, 1.0) is None and percent_error(1.0, None) is None
    assert error_statistics([None])["mean"] is None and error_statistics([None, 3.0])["std"] is None


def test_errors_name_what_is_wrong():
    with pytest.raises(TemDataError, match="'all'.*rename"):
        measure([micrograph()], None, ("all",))
    with pytest.raises(TemDataError, match="m: defect 0"):
        measure([micrograph(square(1, 1, 5, "other"))], None, CLASSES)


# The command


def outlined(x, y, side):
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs `tem-data measure` on two labelled images, of which the table knows one, and two results."""
    monkeypatch.chdir(tmp_path)
    truth = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 100, "width": 100} for i in (1, 2)],
        "categories": [{"id": 7, "name": "111"}, {"id": 9, "name": "ambiguous"}],
        "annotations": [
            {"image_id": i, "category_id": c, "segmentation": outlined(*at)}
            for i, c, at in ((1, 7, (10, 10, 20)), (1, 9, (60, 60, 20)), (2, 7, (10, 10, 20)))
        ],
    }
    results = [
        {"image_id": 1, "category_id": 7, "segmentation": outlined(10, 10, 22), "score": 0.9},
        {"image_id": 1, "category_id": 7, "segmentation": outlined(60, 10, 22), "score": 0.3},
    ]
    for name, content in (("truth", truth), ("images", truth | {"annotations": []}), ("results", results)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "calibration.csv").write_text("file_name,nm_per_px,thickness_nm\n1.png,0.5,100\n")
    (tmp_path / "params.yaml").write_text("materials: {barrier_strength: {}}\n")

    def call(*words):
        shutil.rmtree("out", ignore_errors=True)
        calibration = () if "--images" in words else ("--calibration", "calibration.csv")
        return CliRunner().invoke(app, ["measure", *words, *calibration, "-o", "out"])

    return call


def test_measure_writes_tables_of_labels_alone(run):
    out = run("truth.json").output
    assert "without nm_per_px" in out and "2.png" in out and "predicted" not in out
    assert [(r["source"], r["found"]) for r in read_table("out/defects.csv")] == [("truth", "")] * 2
    rows = read_table("out/micrographs.csv")
    assert list(rows[0]) == list(MICROGRAPH_COLUMNS)
    assert float(rows[0]["true_areal_density_1e-4_per_nm2"]) == pytest.approx(4)
    assert read_json("out/summary.json")["without_nm_per_px"] == ["2.png"]


def test_measure_compares_predictions_above_the_threshold(run):
    assert "Errors" in run("truth.json", "--predictions", "results.json").output
    row = read_table("out/micrographs.csv")[0]
    assert (row["true_count"], row["predicted_count"]) == ("1.0", "1.0")
    assert float(row["found_mean_size_nm_error_percent"]) == pytest.approx(10, abs=1)


def test_measure_takes_predictions_alone_and_other_constants(run):
    words = ("--predictions", "results.json", "--threshold", "0.2", "--params", "params.yaml")
    out = run("images.json", *words).output
    assert "true" not in out and "Errors" not in out
    assert "left out of hardening: 1 (111)" in out
    row = read_table("out/micrographs.csv")[0]
    assert row["predicted_count"] == "2.0"
    known = {name for name, value in row.items() if value and not name.startswith("predicted")}
    assert known == {"micrograph_id", "category", "area_nm2", "thickness_nm"}  # no count of 0, no error
    assert [(r["found"], r["pair"]) for r in read_table("out/defects.csv")] == [("", "")] * 2
    pooled = read_json("out/summary.json")["classes"]["111"]
    assert set(pooled) == {"pooled"} and pooled["pooled"]["true_count"] is None
    assert pooled["pooled"]["mean_size_nm_error_percent"] is None


def test_an_image_without_labels_is_a_negative_where_others_are_labelled(run):
    truth = read_json("truth.json")
    truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] == 1]
    Path("truth.json").write_text(json.dumps(truth))
    run("truth.json", "--predictions", "results.json")
    row = next(r for r in read_table("out/micrographs.csv") if r["micrograph_id"] == "2.png")
    assert (row["true_count"], row["predicted_count"]) == ("0", "0")


def found_file(*scores):
    defects = tuple(square(5 + 30 * k, 10, 20, "111", score) for k, score in enumerate(scores))
    micrograph_ = Micrograph("a", None, defects, (100, 100))
    return coco_found([micrograph_], Classes(("111",)), ["a.tif"], 0.4, "org/name@v1")


def test_measure_takes_predictions_with_their_own_images(run):
    Path("found.json").write_text(json.dumps(found_file(0.45, 0.9)))
    result = run("found.json", "--threshold", "0.3")
    assert "true" not in result.output.replace("truth", "") and "not at 0.3" in result.stderr
    row = read_table("out/micrographs.csv")[0]
    assert (row["true_count"], row["predicted_count"]) == ("", "2.0")
    run("found.json", "--threshold", "0.5")
    assert read_table("out/micrographs.csv")[0]["predicted_count"] == "1.0"
    assert "at least 0.4" in run("found.json").output  # as the model was used
    assert read_table("out/micrographs.csv")[0]["predicted_count"] == "2.0"
    assert read_json("out/summary.json")["threshold"] == 0.4


def test_measure_takes_pixel_sizes_from_the_images(run):
    Path("found.json").write_text(json.dumps(found_file(0.9)))
    Path("images").mkdir()
    for side, area, said in (
        (100, 100 * 100 * 0.25, ""),
        (200, None, "another scale"),  # halved before it was searched: 1 px of the labels is 2 of the file
    ):
        calibrated = {"resolution": (2, 2), "metadata": {"unit": "nm"}}
        tifffile.imwrite("images/a.tif", np.zeros((side, side), np.uint8), imagej=True, **calibrated)
        result = run("found.json", "--images", "images")
        assert said in result.stderr and bool(said) == ("warning" in result.stderr)
        row = read_table("out/micrographs.csv")[0]
        assert row["area_nm2"] == ("" if area is None else str(area))
    Path("calibration.csv").write_text("file_name,nm_per_px,thickness_nm\na.tif,,80\n")
    tifffile.imwrite("images/a.tif", np.zeros((100, 100), np.uint8), imagej=True, **calibrated)
    run("found.json", "--images", "images", "--calibration", "calibration.csv")
    row = read_table("out/micrographs.csv")[0]
    assert (row["area_nm2"], row["thickness_nm"]) == ("2500.0", "80.0")


def test_measure_takes_a_dataset_folder_with_its_calibration(tmp_path):
    defects = (square(10, 10, 20, "111"), square(50, 10, 20, "void"))
    known = replace(micrograph(*defects), nm_per_px=0.5, thickness_nm=100.0, image=np.zeros((256, 256), np.uint8))
    known = replace(known, shape=(256, 256), micrograph_id="a")
    write_micrographs(tmp_path / "set", [known], Classes(("111", "void")), "")
    (tmp_path / "found.json").write_text(json.dumps(found_file(0.9) | {"images": [
        {"id": 1, "file_name": "a.tif", "height": 256, "width": 256}
    ]}))  # fmt: skip
    measured, warnings, sides = measure_coco(tmp_path / "set", tmp_path / "found.json")
    assert warnings == () and sides == {"true": True, "predicted": True}
    assert measured.micrographs[0]["true_volume_density_1e21_per_m3"] == pytest.approx(1e6 / (128 * 128 * 100))
    assert measured.micrographs[0]["predicted_count"] == 1


def test_measure_takes_classes_of_several_names(run):
    assert "categories ['111'] are of no class" in str(run("truth.json", "--classes", "loop").exception)
    run("truth.json", "--classes", "loop=111+ambiguous", "--ignore", "")
    assert [row["category"] for row in read_table("out/defects.csv")] == ["loop"] * 3


def test_measure_says_what_a_user_gets_wrong(run, tmp_path):
    truth = read_json("truth.json")
    for images, said in (
        ([{}, {"file_name": "1.png"}], "'1.png' is there twice"),
        ([{"file_name": None}, {}], "file_name"),
    ):
        changed = [image | change for image, change in zip(truth["images"], images, strict=False)]
        (tmp_path / "bad.json").write_text(json.dumps(truth | {"images": changed, "annotations": []}))
        error = run("bad.json").exception
        assert isinstance(error, TemDataError) and said in str(error)
    assert not (tmp_path / "out").exists()


def test_a_thin_diagonal_defect_stays_in_one_piece():
    line = outline_of(np.eye(20, dtype=bool))
    assert loop_size(line) == pytest.approx(np.hypot(20, 20), abs=1.5)
