"""What only the owner of the micrographs knows."""

from __future__ import annotations

from tem_data.core.settings import section, setting


@section("cards")
class CardSettings:
    """What only you know of your micrographs, for the cards; nothing of it is ever guessed at."""

    license: str | None = setting(None, "As cc-by-4.0; experimental data are not published without one.")
    dataset: str | None = setting(None, "Name of the dataset on the Hub, organisation/name.")
    material: str | None = setting(None, "What they show, as `irradiated FeCrAl, bright-field STEM`.")
    source: str | None = setting(None, "Where they come from: a DOI, a URL, or a dataset on the Hub.")
    labelled_by: str | None = setting(None, "Who labelled them, and how.")
