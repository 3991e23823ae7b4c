"""The page: its tabs, and the server that shows them on this machine alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio reads it when it is imported

import gradio as gr
from starlette.middleware import Middleware

from tem_data.app.browse import browse_tab
from tem_data.app.detect import detect_tab
from tem_data.app.models import shared_detector
from tem_data.app.paint import paint_tab
from tem_data.app.session import Session
from tem_data.app.sources import Sources
from tem_data.app.study import study_tab
from tem_data.core.errors import TemDataError

LOOPBACK = "127.0.0.1"
FORGOTTEN_S = 3600
STYLE = """
.key {display: inline-block; width: .8em; height: .8em; border: 3px solid; margin: 0 .4em 0 1em}
.gradio-container {max-width: 1500px !important}
"""
# Fonts of the machine: none is fetched from elsewhere.
THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:"
)


def build(sources: Sources, folder: Path) -> gr.Blocks:
    """The page, not yet served; what its users leave goes to `folder`."""
    detectors = {name: shared_detector(place) for name, place in sources.detectors.items()}
    with gr.Blocks(title="tem_data", analytics_enabled=False, delete_cache=(FORGOTTEN_S, 24 * FORGOTTEN_S)) as page:
        session = gr.State(None, delete_callback=_close)
        gr.Markdown("# tem_data")
        with gr.Tab("Detect"):
            detect_tab(session, detectors)
        with gr.Tab("Paint"):
            paint_tab(session, sources.ldm, sources.shapes)
        with gr.Tab("Browse"):
            browse_tab(sources.datasets, sources.project)
        with gr.Tab("Study"):
            study_tab(page, sources.project, folder / "reports")
        page.load(lambda: Session.new(folder), None, session, show_progress="hidden")
    return page.queue(default_concurrency_limit=4)


@contextmanager
def serving(sources: Sources, port: int | None = None, host: str = LOOPBACK) -> Iterator[str]:
    """Serve the page in a thread; gives its address. Without `port` it is the first free one from 7860 on.

    Raises TemDataError where none is free.
    """
    with tempfile.TemporaryDirectory(prefix="tem_data_app_") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # Gradio reads it when the page is built
        page = build(sources, Path(folder))
        address = _launched(page, port, host)
        try:
            yield address
        finally:
            page.close(verbose=False)


def _launched(page: gr.Blocks, port: int | None, host: str) -> str:
    """The address of a page that is now served in a thread."""
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            footer_links=[],
            theme=THEME,
            css=STYLE,
            ssr_mode=False,
            mcp_server=False,
            app_kwargs={"middleware": [Middleware(Policy)], "docs_url": None, "redoc_url": None},
        )
    except OSError as error:
        taken = "no port from 7860 on is free" if port is None else f"port {port} is taken"
        raise TemDataError(f"the page cannot be served: {taken}; give another by --port") from error
    return address


class Policy:
    """Forbids the browser to ask any other host for anything."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"content-security-policy", POLICY)]
            await send(message)

        await self.app(scope, receive, send_with_policy)


def _close(session: Session | None) -> None:
    if session:
        session.close()
