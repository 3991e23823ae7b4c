"""The page of imported micrographs, and what it calls doubtful."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tem_data.core.micrograph import defect_from_mask, paste
from tem_data.importing.contact_sheet import write_contact_sheet
from tem_data.importing.doubts import doubts_of
from tem_data.importing.micrographs import import_micrographs
from tem_data.importing.settings import ImportSettings
from tem_data.simulation.micrographs import simulate


@pytest.fixture(scope="module")
def micrographs():
    return list(simulate(count=6, size_px=512, nm_per_px=0.957, seed=0))


def names(micrographs):
    return {m.micrograph_id: f"{m.micrograph_id}.png" for m in micrographs}


def reasons(micrographs, rows=()):
    return {key: [d.reason for d in doubts] for key, doubts in doubts_of(micrographs, rows, names(micrographs)).items()}


def changed(micrographs, **changes):
    """The micrographs, the last one changed; its id."""
    last = micrographs[-1]
    return [*micrographs[:-1], replace(last, **changes)], last.micrograph_id


def test_right_labels_are_not_in_doubt(micrographs):
    assert all(not doubts for doubts in reasons(micrographs).values())


def test_labels_of_another_image(micrographs):
    wrong, key = changed(micrographs, defects=micrographs[0].defects)
    (reason,) = reasons(wrong)[key]
    assert re.fullmatch(r"its labels lie on nothing that can be seen \(alignment \d\.\d\)", reason)


def test_a_wrong_calibration(micrographs):
    wrong, key = changed(micrographs, nm_per_px=4 * 0.957)
    found = reasons(wrong)
    assert any(re.fullmatch(r"its bdot are 4(\.\d)? times as large as those of the others", r) for r in found[key])
    assert sum(map(bool, found.values())) == 1


def test_swapped_classes(micrographs):
    swap = {"100": "bdot", "bdot": "100"}
    defects = tuple(replace(d, category=swap.get(d.category, d.category)) for d in micrographs[-1].defects)
    wrong, key = changed(micrographs, defects=defects)
    found = reasons(wrong)
    assert found.pop(key)[0] == "100 and bdot look swapped" and not any(found.values())


def test_what_was_set_aside_or_is_not_known(micrographs):
    key = micrographs[0].micrograph_id
    row = {"file": f"{key}.png", "item": "row 2", "reason": "no class", "action": "set aside", "detail": ""}
    assert reasons(micrographs, [row, row])[key] == ["2 of its labels set aside"]
    unknown, key = changed(micrographs, defects=(), nm_per_px=None)
    assert reasons(unknown)[key] == ["its pixel size is not known", "it has no label"]


def test_labeller_a_swapped_two_classes(shared):
    """In three images of the real data, as a person found."""
    data = shared / "data/fecral"
    settings = ImportSettings(
        source="ellipses", images=str(data / "images"), annotations=str(data / "ellipses.csv"),
        calibration=str(data / "micrographs.csv"), classes=["111", "bdot", "100"],
    )  # fmt: skip
    imported = import_micrographs(settings, progress=False)
    found = doubts_of(imported.micrographs, imported.quarantine.rows, imported.file_names)
    swapped = {key for key, doubts in found.items() if "100 and bdot look swapped" in [d.reason for d in doubts]}
    assert "BF X500K, 06 (2)" in swapped and len(swapped) <= 5


def test_the_page(micrographs, tmp_path):
    wrong, key = changed(micrographs, defects=micrographs[0].defects)
    rows = [
        {"file": f"{key}.png", "item": "row 2", "reason": "no class", "action": "set aside", "detail": "<b>&"},
        {"file": "gone.png", "item": "", "reason": "missing image", "action": "set aside", "detail": "elsewhere"},
    ]
    write_contact_sheet(tmp_path / "import.html", wrong, ("100", "111", "bdot"), rows, names(wrong))
    page = (tmp_path / "import.html").read_text()
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings[0] == f"{key}.png" and sorted(headings[:-1]) == sorted(names(wrong).values())
    assert headings[-1] == "Not imported" and "elsewhere" in page and "&lt;b&gt;&amp;" in page
    assert page.count("data:image/jpeg;base64,") == len(wrong) and "http" not in page
    np.testing.assert_equal(page.count('class="doubtful"'), 1)


def test_what_should_be_looked_at_is_printed(micrographs, tmp_path, capsys):
    write_contact_sheet(tmp_path / "import.html", micrographs, ("100", "111", "bdot"), [], names(micrographs))
    assert capsys.readouterr().out == ""
    wrong, key = changed(micrographs, defects=micrographs[0].defects)
    wrong[0] = replace(wrong[0], defects=())
    write_contact_sheet(tmp_path / "import.html", wrong, ("100", "111", "bdot"), [], names(wrong))
    empty, unfit = capsys.readouterr().out.splitlines()
    assert empty.endswith(
        f"1 of 6 micrographs have no label, and count as free of defects ({wrong[0].micrograph_id}.png)"
    )
    assert unfit.startswith("look at them: 1 of 6 micrographs have labels that lie on nothing to be seen")
    assert unfit.endswith(f"({key}.png)")


def test_many_defects_painted_as_one(micrographs, tmp_path, capsys):
    several = [d for d in micrographs[-1].defects if d.category == "bdot"][:5]
    canvas = np.zeros(micrographs[-1].shape, np.uint8)
    for defect in several:
        paste(canvas, defect, 1)
    painted, key = changed(micrographs, defects=(defect_from_mask("bdot", canvas > 0), *micrographs[-1].defects))
    (reason,) = reasons(painted)[key]
    assert reason == "one label (bdot) lies in 5 places, and counts as one defect"
    write_contact_sheet(tmp_path / "import.html", painted, ("100", "111", "bdot"), [], names(painted))
    assert capsys.readouterr().out.endswith(f"a label in 5 places or more, which counts as one defect ({key}.png)\n")
