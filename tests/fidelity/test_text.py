import numpy as np
import pytest

from tem_data.core.files import write_json
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.fidelity.comparison import compare_pictures
from tem_data.fidelity.text import describe, page_sections, read_section
from tem_data.reports.page import write_report


def patch_with_a_dot(number, dark):
    image = np.random.default_rng(number).integers(188, 193, (32, 32)).astype(np.uint8)
    image[10:18, 10:18] = dark
    return Micrograph(
        f"m{number}", image, (Defect("dot", 10, 10, np.ones((8, 8), bool)),), (32, 32), scene=f"s{number}"
    )


def test_fidelity_is_told_where_some_of_it_is_not_known(tmp_path):
    """Dots half as dark as real ones; no features, so no memorisation; a class that is nowhere."""
    real, generated = ([patch_with_a_dot(i, dark) for i in range(4)] for dark in (60, 125))
    pictures = compare_pictures(real, real, generated, ("dot", "loop"), progress=False).summary
    scores = {"f1_hm": 0.25, "f1_detect": 0.2, "f1_class": 1 / 3, "pairs": 4, "adherence": 0.5}
    judged = {kind: scores | {"f1_right_by_class": {"dot": 0.5}} for kind in ("real", "reconstructed", "generated")}
    summary = {"adherence": judged, "reconstruction": {"psnr_db": 31.4}, "pictures": pictures}
    write_json(tmp_path / "fidelity.json", summary)
    assert read_section(tmp_path / "elsewhere") is None
    section = read_section(tmp_path)
    assert "in generated pictures with F1_HM 0.250" in section.text and "31.4 dB" in section.text
    assert "nearest" not in section.text
    of_whole = {row["class"]: row for row in section.tables[1].rows if row["where"] == "whole defect"}
    dot, loop = of_whole["dot"], of_whole["loop"]
    assert (dot["ratio"], dot["real"]) == (pytest.approx(0.5, abs=0.01), pytest.approx(130, abs=1))
    assert loop["ratio"] is None and loop["generated"] is None
    write_report(tmp_path / "page.html", "t", describe(summary), page_sections(tmp_path, summary))
    page = (tmp_path / "page.html").read_text()
    assert "<table" in page and "F1 of dot" in page and "f1_hm" not in page
