"""Where tests find the repository's own files, and published data; tests that need the latter skip without it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
