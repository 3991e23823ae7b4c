"""Model and dataset cards, every number of which is read from a metrics file."""

from tem_data.cards.published import published_card, with_figures
from tem_data.cards.rendering import render_cards
from tem_data.cards.tables import mask_rows

__all__ = ["mask_rows", "published_card", "render_cards", "with_figures"]
