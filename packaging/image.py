#!/usr/bin/env python3
"""Writes the OCI images, each for all architectures in one file, without a daemon: image.py DIST [ARCH...]

DIST has the release's files, foster-ARCH; packaging/release has built the rest. Made from them:
- DIST/foster-image.tar: /foster and nothing else, for COPY --from;
- DIST/foster-installer-image.tar: the same and a cp, for pods that copy foster into a volume.

Each is an OCI image layout in a tar (skopeo and podman call that oci-archive). The same files make the same bytes: no
clock is read, everything has one owner, and the order is the table's.
"""

import gzip
import hashlib
import io
import json
import pathlib
import sys
import tarfile

from project import architectures, package

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# Some tools want a date. This one says that none is meant.
NO_DATE = "1970-01-01T00:00:00Z"


def tar(entries):
    """A tar of (name, content, mode), all of them root's and of no date; a directory has no content."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content, mode in entries:
            entry = tarfile.TarInfo(name)
            entry.mode = mode
            if content is None:
                entry.type = tarfile.DIRTYPE
            else:
                entry.size = len(content)
            archive.addfile(entry, None if content is None else io.BytesIO(content))
    return packed.getvalue()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def to_json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class Image:
    """One image for several platforms, as it grows."""

    def __init__(self, title, description, crate):
        self.blobs = {}
        self.manifests = []
        self.version = crate["version"]
        self.annotations = {
            "org.opencontainers.image.title": title,
            "org.opencontainers.image.description": description,
            "org.opencontainers.image.version": crate["version"],
            "org.opencontainers.image.licenses": crate["license"],
            "org.opencontainers.image.source": crate["repository"],
            "org.opencontainers.image.url": crate["repository"],
            "org.opencontainers.image.documentation": crate["repository"],
        }

    def blob(self, media_type, content):
        """Keeps it, and returns the descriptor that refers to it."""
        digest = sha256(content)
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def add(self, platform, layers, settings):
        """Adds a platform: its layers as tars, and what a container of it starts with."""
        config = {
            **platform,
            "created": NO_DATE,
            "config": {**settings, "Labels": self.annotations},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}" for layer in layers]},
            "history": [{"created": NO_DATE, "created_by": "packaging/image.py"} for _ in layers],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(CONFIG, to_json(config)),
            "layers": [self.blob(LAYER, gzip.compress(layer, 9, mtime=0)) for layer in layers],
            "annotations": self.annotations,
        }
        self.manifests.append({**self.blob(MANIFEST, to_json(manifest)), "platform": platform})

    def layout(self):
        """The whole as a tar. Its index names one image by its version, and that one has the platforms."""
        index = {"schemaVersion": 2, "mediaType": INDEX}
        platforms = self.blob(INDEX, to_json({**index, "manifests": self.manifests, "annotations": self.annotations}))
        image = {**platforms, "annotations": {"org.opencontainers.image.ref.name": self.version}}
        blobs = [(f"blobs/sha256/{digest}", content, 0o644) for digest, content in sorted(self.blobs.items())]
        return tar([
            ("oci-layout", to_json({"imageLayoutVersion": "1.0.0"}), 0o644),
            ("index.json", to_json({**index, "manifests": [image]}), 0o644),
            ("blobs", None, 0o755),
            ("blobs/sha256", None, 0o755),
            *blobs,
        ])


def main(dist, names):
    crate = package()
    foster = Image("foster", crate["description"], crate)
    installer = Image("foster-installer", "foster, and a cp that copies it into a volume", crate)
    for one in architectures(names):
        program = tar([("foster", (dist / f"foster-{one.name}").read_bytes(), 0o755)])
        foster.add(one.platform, [program], {"Entrypoint": ["/foster"]})
        copies = tar([("bin", None, 0o755), ("bin/cp", one.example("cp").read_bytes(), 0o755)])
        installer.add(one.platform, [program, copies], {"Env": ["PATH=/bin"], "Entrypoint": ["cp", "/foster"]})
    (dist / "foster-image.tar").write_bytes(foster.layout())
    (dist / "foster-installer-image.tar").write_bytes(installer.layout())


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(pathlib.Path(sys.argv[1]), sys.argv[2:])
