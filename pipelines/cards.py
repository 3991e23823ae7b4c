"""Render the model and dataset cards from the metrics of the study."""

from __future__ import annotations

from pathlib import Path

from pipelines.common import RESULTS, read_params, stage
from tem_data.cards import render_cards
from tem_data.files import whole


def main() -> None:
    cards = render_cards(RESULTS, "cards/templates", read_params())
    with whole(Path("cards/rendered")) as draft:
        draft.mkdir()
        for name, text in cards.items():
            (draft / name).write_text(text)
    print(f"cards/rendered: {', '.join(cards)}")


if __name__ == "__main__":
    stage(main)
