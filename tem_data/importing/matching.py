"""Which image of a folder a label file means."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from tem_data.images.reading import files_by_stem

UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an uploaded image
RESIZED = re.compile(r"_(png|jpe?g|tiff?|bmp)\.rf\.[0-9A-Za-z]+$")  # and Roboflow behind it


class ImageFolder:
    """The images of a folder, found by the names that labels give them; `suffix` is what label files add to stems.

    Raises TemDataError if there is no such folder.
    """

    def __init__(self, folder: str | os.PathLike, suffix: str = "") -> None:
        self.folder, self.suffix = Path(folder), suffix
        self.by_stem = files_by_stem(folder)

    @property
    def paths(self) -> list[Path]:
        return [path for same_stem in self.by_stem.values() for path in same_stem]

    def find(self, name: str) -> tuple[Path | None, str]:
        """The image of a name as it stands in a label file, else None and why.

        A file of exactly this name, with or without its folder, then with %20 decoded, then the only one of this stem,
        then of the stem without what Label Studio or Roboflow add. Names may be of Windows.
        """
        given = name.replace("\\", "/")
        for exact in dict.fromkeys((given, Path(given).name, Path(unquote(given)).name)):
            path = self.folder / exact
            if exact and ".." not in path.parts and path.is_file():
                return path, ""
        stem = Path(unquote(given)).name
        for known in (
            *_stems(stem.removesuffix(self.suffix)),
            *_stems(_without_suffix(stem).removesuffix(self.suffix)),
        ):
            paths = self.by_stem.get(known, [])
            if len(paths) == 1:
                return paths[0], ""
            if paths:
                return None, f"{' and '.join(path.name for path in paths)} could be meant; name it with its suffix"
        return None, f"expected in the folder {self.folder}"


def _without_suffix(name: str) -> str:
    return re.sub(r"(?i)(\.ome)?\.[0-9a-z]{2,5}$", "", name)


def _stems(stem: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((stem, UPLOADED.sub("", stem), RESIZED.sub("", stem))))
