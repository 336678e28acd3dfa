"""What pyproject.toml cannot say: the wheel carries ``configs/``, and its page shows no picture that it lacks."""

import re
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithConfigs(build_py):
    """Puts the configs into the package; an editable install reads those of the clone."""

    def run(self) -> None:
        """Copy them beside the modules."""
        super().run()
        for file in [] if self.editable_mode else sorted(Path("configs").rglob("*.yaml")):
            target = Path(self.build_lib, "lcot", file)
            self.mkpath(str(target.parent))
            self.copy_file(str(file), str(target))


def page() -> str:
    """README.md without pictures and links that lead into a clone: there is no address that has them."""
    text = Path("README.md").read_text(encoding="utf-8")
    text = re.sub(r"!\[[^\]]*\]\((?!\w+://)[^)]*\)\n*", "", text)
    return re.sub(r"\[([^\]]*)\]\((?!\w+://|#)[^)]*\)", r"\1", text)


setup(cmdclass={"build_py": WithConfigs}, long_description=page(), long_description_content_type="text/markdown")
