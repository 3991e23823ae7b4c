"""Split the micrographs by whole scenes, and say how splits by single images would leak."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.files import write_json
from tem_data.core.places import MICROGRAPHS, RESULTS, SPLIT_TABLE
from tem_data.splits.schemes import SplitSettings
from tem_data.splits.steps import leaks, split_dataset


def main(settings: SplitSettings) -> None:
    rows = split_dataset(MICROGRAPHS, SPLIT_TABLE, settings)
    write_json(RESULTS / "leaks.json", leaks(rows))


if __name__ == "__main__":
    stage(main)
