"""Which image of a folder a label file means."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
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
        found = files_by_stem(folder)
        # masks that lie beside their images are none
        self.by_stem = {
            stem: paths
            for stem, paths in found.items()
            if not (suffix and stem.endswith(suffix) and stem.removesuffix(suffix) in found)
        }

    @property
    def paths(self) -> list[Path]:
        return [path for same_stem in self.by_stem.values() for path in same_stem]

    def find(self, name: str) -> tuple[Path | None, str]:
        """The image of a name as it stands in a label file, else None and why.

        A file of exactly this name, with or without its folder, then with %20 decoded, then the only one of this stem,
        then of the stem without what Label Studio or Roboflow add, then of the stem in other letters (capital, or
        accents in two characters). Names may be of Windows.
        """
        given = name.replace("\\", "/")
        for exact in dict.fromkeys((given, Path(given).name, Path(unquote(given)).name)):
            path = self.folder / exact
            if exact and ".." not in path.parts and path.is_file():
                return path, ""
        name = Path(unquote(given)).name
        stems = [*_stems(self._image_stem(name)), *_stems(self._image_stem(_without_suffix(name)))]
        for known in stems:
            if paths := self.by_stem.get(known):
                return _only(paths)
        for known in map(_plain, stems):
            if paths := [path for stem, held in self.by_stem.items() if _plain(stem) == known for path in held]:
                return _only(paths)
        return None, f"expected in the folder {self.folder}"

    def _image_stem(self, stem: str) -> str:
        return stem.removesuffix(_without_suffix(self.suffix))

    def hint(self, name: str) -> str:
        """What to do about the name of a label file that is that of an image with more before or behind it."""
        given = _without_suffix(Path(name.replace("\\", "/")).name)
        name = _plain(given)
        for known in sorted(self.by_stem, key=len, reverse=True):
            image, stem = self.by_stem[known][0].name, _plain(known)
            if re.match(f"{re.escape(stem)}[^0-9a-z]", name):
                return f"; if it is {image}, set `mask_suffix` to {given[len(stem) - len(name) :]}"
            if re.search(f"[^0-9a-z]{re.escape(stem)}$", name):
                return f"; if it is {image}, rename the label files: only what stands behind the name can be left out"
        return ""


def _only(paths: Sequence[Path]) -> tuple[Path | None, str]:
    if len(paths) == 1:
        return paths[0], ""
    return None, f"{' and '.join(path.name for path in paths)} could be meant; name it with its suffix"


def _plain(stem: str) -> str:
    return unicodedata.normalize("NFC", unquote(stem)).casefold()


def _without_suffix(name: str) -> str:
    return re.sub(r"(?i)(\.ome)?\.[0-9a-z]{2,5}$", "", name)


def _stems(stem: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((stem, UPLOADED.sub("", stem), RESIZED.sub("", stem))))
