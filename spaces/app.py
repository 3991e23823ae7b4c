"""The page as a Hugging Face Space, in whose container alone it may be asked from elsewhere."""

import os
from pathlib import Path
from threading import Event

from tem_data.app.page import serving
from tem_data.app.sources import sources_of

shapes = os.environ.get("SHAPES")
sources = sources_of(os.environ.get("DETECTOR", "").split(), os.environ.get("LDM"), Path(shapes) if shapes else None)
with serving(sources, port=int(os.environ.get("PORT", "7860")), host="0.0.0.0") as address:
    print(address, flush=True)
    Event().wait()
