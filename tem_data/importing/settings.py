"""What is imported, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from tem_data.core.errors import SettingError
from tem_data.core.schema import Classes
from tem_data.core.settings import ClassName, read_section, section, setting
from tem_data.importing.checking import Names
from tem_data.simulation.settings import SimulationSettings


def _aliases(value: Any) -> Any:
    """`[a, b]` as `{a: [a], b: [b]}`, `a` as `{a: [a]}`, and `{a: b}` as `{a: [b]}`."""
    value = [value] if isinstance(value, str) else value
    names = {name: name for name in value} if isinstance(value, (list, tuple)) else value
    if not isinstance(names, Mapping):
        return value
    return {name: [held] if isinstance(held, (str, int)) else held for name, held in names.items()}


Aliases = Annotated[Mapping[ClassName, Sequence[ClassName]], BeforeValidator(_aliases)]


def _simulation(value: Any) -> Any:
    return value if isinstance(value, SimulationSettings) else read_section(SimulationSettings, value)


@section("import")
class ImportSettings:
    """Labelled micrographs of your own, or the built-in ones."""

    source: Literal["builtin", "coco", "ellipses", "fiji", "masks"] = setting(
        "builtin",
        "What `annotations` is. builtin: simulated micrographs. ellipses: one table. fiji: files NAME_results.csv and "
        "NAME_log.txt, measured in px (in Fiji, before measuring: Analyze > Set Scale > Click to Remove Scale).",
    )
    watch: str = setting(
        "tem_data/simulation",
        "Name the folder of your data here, and DVC imports it again when it changes.",
        stage_only=True,
    )
    images: str | None = setting(None, "Folder of micrographs: PNG, JPEG or TIFF.", stage_only=True)
    annotations: str | None = setting(
        None, "COCO file, table of ellipses, or folder of Fiji tables or of mask images.", stage_only=True
    )
    classes: Aliases = setting(
        {"100": ("100", "100_1", "100_2"), "111": ("111",), "bdot": ("bdot", "bd")},
        "Classes, each with its names in the files; their order is the order of the mask values 1, 2, …",
        min_length=1,
    )
    ignored: Aliases = setting(
        {"ambiguous": ("ambiguous",)}, "Labels that are kept, but neither trained on nor scored, written the same way."
    )
    calibration: str | None = setting(
        None, "Table with file_name, nm_per_px and, if known, thickness_nm, specimen; null: the images' metadata."
    )
    columns: Mapping[str, str] | None = setting(
        None, "ellipses: columns of other names than file_name, class, x_px, y_px, major_px, minor_px, angle_deg."
    )
    class_numbers: Mapping[int, ClassName] | None = setting(None, "fiji: the class of each number in the logs.")
    mask_values: Mapping[int, ClassName] | None = setting(
        None, "masks: the class of each grey level; null: all but 0 is the one class."
    )
    instances: str | None = setting(None, "masks: folder of 16-bit instance maps, one number a defect.")
    min_alignment: float | None = setting(
        3.5, "Labels that fit their image less are taken for another image's; null does not ask.", ge=0
    )
    max_side: int | None = setting(
        1024, "Larger micrographs are halved until no side is longer, px; null: never.", gt=0
    )
    min_overlap: float = setting(
        0.08, "Share of a micrograph from which an overlap ties two into one scene.", gt=0, le=1
    )
    builtin: Annotated[SimulationSettings, BeforeValidator(_simulation)] = setting(
        SimulationSettings(), "The simulated micrographs.", stage_only=True
    )

    def __post_init__(self) -> None:
        every = [alias for part in (self.classes, self.ignored) for aliases in part.values() for alias in aliases]
        twice = [alias for alias, times in Counter(every).items() if times > 1]
        if twice:
            raise SettingError("import", "classes", f"{', '.join(twice)} stands in two classes; leave it in one")
        for key in ("images", "annotations"):
            if self.source != "builtin" and not getattr(self, key):
                raise SettingError("import", key, f"missing; the source {self.source} needs its path")

    @property
    def schema(self) -> Classes:
        """The classes of the data set that is written."""
        return Classes(tuple(self.classes), tuple(self.ignored))

    @property
    def names(self) -> Names:
        """What each name in the files means."""
        meaning = (
            {alias: name for name, aliases in part.items() for alias in aliases}
            for part in (self.classes, self.ignored)
        )
        return Names(*meaning)
