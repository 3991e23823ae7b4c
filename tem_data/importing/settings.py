"""What is imported, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from annotated_types import Ge
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


LabelSource = Literal[
    "auto", "coco", "labelme", "via", "cvat", "label_studio", "geojson", "rois", "fiji", "ellipses", "masks"
]


def _simulation(value: Any) -> Any:
    return value if isinstance(value, SimulationSettings) else read_section(SimulationSettings, value)


@section("import")
class ImportSettings:
    """Labelled micrographs of your own, or the built-in ones."""

    source: Literal["builtin"] | LabelSource = setting(
        "builtin",
        "What `annotations` is. builtin: simulated micrographs. auto: any of the others. fiji: Results tables. "
        "ellipses: one table with the columns below. masks: pictures of classes. rois: ROIs of ImageJ.",
    )
    watch: str = setting(
        "tem_data/simulation",
        "Name the folder of your data here, and DVC imports it again when it changes.",
        stage_only=True,
    )
    images: str | None = setting(
        None, "Folder of micrographs: TIFF, PNG, JPEG, DM3/DM4, EMD, SER, MRC or HSPY.", stage_only=True
    )
    annotations: str | None = setting(None, "File or folder of labels.", stage_only=True)
    classes: Aliases | None = setting(
        None,
        "Classes, each with its names in the files; their order is the order of the mask values 1, 2, … null: those in "
        "the files.",
        min_length=1,
    )
    ignored: Aliases = setting(
        {"ambiguous": ("ambiguous",)}, "Labels that are kept, but neither trained on nor scored, written the same way."
    )
    calibration: str | None = setting(
        None, "Table with file_name, nm_per_px and, if known, thickness_nm, specimen; null: the images' metadata."
    )
    labelled_by: str | None = setting(
        None,
        "Who drew the labels; null: as the files say where a model proposed them, as `org/name@v1, reviewed`.",
    )
    frame: Annotated[int, Ge(1)] | Literal["mean", "max"] | None = setting(
        None, "Which plane of stacks: a number from 1 on, mean or max; null: stacks are set aside."
    )
    data_bar: Annotated[int, Ge(0)] | Literal["auto"] = setting(
        "auto", "Rows of a data bar, cut from below; auto: found in each image."
    )
    columns: Mapping[str, str] | None = setting(
        None, "ellipses: columns of other names than file_name, class, x_px, y_px, major_px, minor_px, angle_deg."
    )
    class_numbers: Mapping[int, ClassName] | None = setting(None, "fiji: the class of each number in the logs.")
    table_unit: Literal["auto", "px", "nm", "um", "angstrom"] = setting(
        "auto", "fiji: the unit of the ellipses; auto: px or that of their image, as they fit it best."
    )
    mask_values: Mapping[int, ClassName] | None = setting(
        None, "masks: the class of each grey level; null: all but 0 is the one class."
    )
    mask_colours: Mapping[str, ClassName] | None = setting(
        None,
        "masks: the class of each colour, as #800000=loop; null: as in labelmap.txt, where it lies with the masks.",
    )
    mask_suffix: str = setting("", "What names of label files have behind those of their images, as _mask.")
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
        every = [alias for part in (self.classes or {}, self.ignored) for aliases in part.values() for alias in aliases]
        twice = [alias for alias, times in Counter(every).items() if times > 1]
        if twice:
            raise SettingError("import", "classes", f"{', '.join(twice)} stands in two classes; leave it in one")
        for key in ("images", "annotations"):
            if self.source != "builtin" and not getattr(self, key):
                raise SettingError("import", key, f"missing; the source {self.source} needs its path")

    @property
    def aliases(self) -> list[str]:
        """The names that label files give to the classes."""
        return [alias for aliases in (self.classes or {}).values() for alias in aliases]

    @property
    def ignored_aliases(self) -> list[str]:
        """The names that label files give to what is ignored."""
        return [alias for aliases in self.ignored.values() for alias in aliases]

    def of_classes(self, names: Iterable[str]) -> ImportSettings:
        """With `names` as classes where none are given, without the ignored ones."""
        if self.classes is not None:
            return self
        kept = (name for name in names if name not in self.ignored_aliases)
        return replace(self, classes={name: [name] for name in kept} or {"defect": ["defect"]})

    @property
    def schema(self) -> Classes:
        """The classes of the data set that is written."""
        return Classes(tuple(self.classes or ()), tuple(self.ignored))

    @property
    def names(self) -> Names:
        """What each name in the files means."""
        meaning = (
            {alias: name for name, aliases in part.items() for alias in aliases}
            for part in (self.classes or {}, self.ignored)
        )
        return Names(*meaning)
