"""Render the model and dataset cards from the metrics of the study."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.cards import render_cards
from tem_data.core.files import atomic_write
from tem_data.core.places import CARDS, RESULTS
from tem_data.core.settings import SettingsFile


def main() -> None:
    cards = render_cards(RESULTS, "cards/templates", SettingsFile.open().content)
    with atomic_write(CARDS) as draft:
        draft.mkdir()
        for name, text in cards.items():
            (draft / name).write_text(text, encoding="utf-8")
    print(f"{CARDS}: {', '.join(cards)}")


if __name__ == "__main__":
    stage(main)
