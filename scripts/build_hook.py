"""Puts into the wheel what is made from the parsers: man pages, and the shells' completions, below share/."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Made(BuildHookInterface):  # type: ignore[type-arg,misc]
    """Hatchling's hook."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files and name them to the build; an editable install has none."""
        if version == "editable":
            return
        sys.path[:0] = [self.root, str(Path(self.root) / "scripts")]
        import manpages

        import daemon.cli.completion
        import daemon.cli.main
        import training.cli.completion
        import training.cli.main

        self._folder = tempfile.TemporaryDirectory()
        for name, parser, script in (
            ("chimed", daemon.cli.main.parser, daemon.cli.completion.script),
            ("chimed-train", training.cli.main.parser, training.cli.completion.script),
        ):
            files = {
                f"man/man1/{name}.1": manpages.page(parser(), daemon.__version__),
                f"bash-completion/completions/{name}": script(parser(), "bash"),
                f"zsh/site-functions/_{name}": script(parser(), "zsh"),
                f"fish/vendor_completions.d/{name}.fish": script(parser(), "fish"),
            }
            for path, text in files.items():
                file = Path(self._folder.name) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
                build_data["shared_data"][str(file)] = f"share/{path}"

    def finalize(self, version: str, _build_data: dict[str, Any], _artifact_path: str) -> None:
        """Remove what was made: it is in the wheel now."""
        if version != "editable":
            self._folder.cleanup()
