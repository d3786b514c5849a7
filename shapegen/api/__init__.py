"""The public functions of `import shapegen`: what the commands do, from Python."""

from __future__ import annotations

from shapegen.api.drawing import sample, together
from shapegen.api.given import complete, edit, interpolate
from shapegen.api.quality import score
from shapegen.api.runs import configure, configure_finetuning, finetune, learn, list_plugins, open_run
from shapegen.api.views import film, view

__all__ = [
    "complete",
    "configure",
    "configure_finetuning",
    "edit",
    "film",
    "finetune",
    "interpolate",
    "learn",
    "list_plugins",
    "open_run",
    "sample",
    "score",
    "together",
    "view",
]
