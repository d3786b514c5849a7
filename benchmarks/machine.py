"""What a benchmark ran on, and how its result is kept."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def machine() -> dict[str, str]:
    """Return the processor and the versions that a time depends on."""
    return {"processor": processor(), "python": platform.python_version(), "torch": torch.__version__}


def processor() -> str:
    """Return the processor's name as Linux states it, else what Python knows."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def keep(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result as JSON, and print it without its single rounds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({key: value for key, value in result.items() if key != "rounds"}, indent=2))
