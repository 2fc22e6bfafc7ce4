"""What the scripts beside this file need to know of the project: Cargo.toml and the table of architectures."""

import json
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent


class Architecture:
    """A row of packaging/architectures."""

    def __init__(self, row):
        self.name, self.target, image, self.debian, self.rpm, self.arch, self.emulator, tags = row.split()
        machine, _, variant = image.partition("/")
        self.platform = {"architecture": machine, "os": "linux"}
        if variant:
            self.platform["variant"] = variant
        self.wheel_tags = tags.split(".")

    def example(self, name):
        """An example of the crate that packaging/release has built."""
        return ROOT / "target" / self.target / "release/examples" / name


def architectures(names=None):
    """All architectures of the table, or those that are named, in the table's order."""
    rows = (HERE / "architectures").read_text().splitlines()
    found = [Architecture(row) for row in rows if row and not row.startswith("#")]
    unknown = set(names or []) - {one.name for one in found}
    if unknown:
        raise SystemExit(f"not in {HERE / 'architectures'}: {' '.join(sorted(unknown))}")
    return [one for one in found if not names or one.name in names]


def package():
    """What Cargo.toml says of the crate."""
    command = ["cargo", "metadata", "--no-deps", "--offline", "--locked", "--format-version=1"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    (foster,) = (one for one in metadata["packages"] if one["name"] == "foster")
    return foster
