#!/usr/bin/env python3
"""Writes the wheels, one an architecture, around the release's binaries: wheel.py DIST [ARCH...]

`pip install foster-init` puts foster into the environment's bin, byte for byte the release's file. The same files make
the same bytes: no clock is read.
"""

import base64
import hashlib
import pathlib
import sys
import zipfile

from project import ROOT, architectures, package

# `foster` is somebody else's on PyPI.
NAME = "foster-init"
# The earliest that a zip can say.
NO_DATE = (1980, 1, 1, 0, 0, 0)


def metadata(crate):
    """The core metadata, with what PyPI shows as its text."""
    return f"""\
Metadata-Version: 2.4
Name: {NAME}
Version: {crate["version"]}
Summary: {crate["description"]}
License-Expression: {crate["license"]}
License-File: LICENSE
Project-URL: Source, {crate["repository"]}
Keywords: {",".join(crate["keywords"])}
Classifier: Environment :: Console
Classifier: Operating System :: POSIX :: Linux
Classifier: Programming Language :: Rust
Classifier: Topic :: System :: Boot :: Init
Requires-Python: >=3.7
Description-Content-Type: text/markdown

# foster

{crate["description"]}. A static binary in place of tini, dumb-init or catatonit, for images that have pip already:

    RUN pip install {NAME}=={crate["version"]}
    ENTRYPOINT ["foster", "--"]
    CMD ["gunicorn", "--bind", "0.0.0.0:8000", "app:app"]

The wheel has the program `foster` and nothing else: no Python module, no dependency, and no link by another init's name.
To have one: `ln -s "$(command -v foster)" /usr/bin/tini`. Everything else is said at {crate["repository"]}.
"""


def wheel(crate, one, program):
    """A wheel's name and its files, each with its permissions."""
    prefix = f"{NAME.replace('-', '_')}-{crate['version']}"
    info = f"{prefix}.dist-info"
    tags = "".join(f"Tag: py3-none-{tag}\n" for tag in one.wheel_tags)
    text = f"Wheel-Version: 1.0\nGenerator: foster {crate['version']}\nRoot-Is-Purelib: false\n{tags}"
    files = [
        (f"{prefix}.data/scripts/foster", program, 0o755),
        (f"{info}/licenses/LICENSE", (ROOT / "LICENSE").read_bytes(), 0o644),
        (f"{info}/METADATA", metadata(crate).encode(), 0o644),
        (f"{info}/WHEEL", text.encode(), 0o644),
    ]
    record = f"{info}/RECORD"
    lines = [f"{name},sha256={urlsafe_sha256(content)},{len(content)}\n" for name, content, _ in files]
    files.append((record, f"{''.join(lines)}{record},,\n".encode(), 0o644))
    return f"{prefix}-py3-none-{'.'.join(one.wheel_tags)}.whl", files


def urlsafe_sha256(content):
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def main(dist, names):
    crate = package()
    for one in architectures(names):
        name, files = wheel(crate, one, (dist / f"foster-{one.name}").read_bytes())
        with zipfile.ZipFile(dist / name, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path, content, mode in files:
                entry = zipfile.ZipInfo(path, NO_DATE)
                entry.create_system = 3  # Unix, whose permissions these are.
                entry.external_attr = (0o100000 | mode) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(pathlib.Path(sys.argv[1]), sys.argv[2:])
