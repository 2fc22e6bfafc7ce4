#!/usr/bin/env python3
"""Writes Arch Linux's PKGBUILD for the release's files: pkgbuild.py DIST [ARCH...]

It takes what it packages from the release, and has the checksums of what stands in DIST now.
"""

import hashlib
import pathlib
import sys

from project import architectures, package


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pkgbuild(crate, dist, machines):
    """The text of the PKGBUILD."""
    sources = "".join(
        f'source_{one.arch}=("foster-$pkgver-{one.arch}::$_release/foster-{one.name}")\n'
        f"sha256sums_{one.arch}=({sha256(dist / f'foster-{one.name}')})\n"
        for one in machines
    )
    return f"""\
# The program of foster's release {crate["version"]}, with its man page and completions.
pkgname=foster-bin
pkgver={crate["version"]}
pkgrel=1
pkgdesc='{crate["description"]}'
arch=({" ".join(one.arch for one in machines)})
url={crate["repository"]}
license=('{crate["license"]}')
provides=("foster=$pkgver")
conflicts=(foster)
# It is stripped, and its bytes are those that the release has signed.
options=(!strip !debug)
_release=$url/releases/download/v$pkgver
source=("foster-share-$pkgver.tar.gz::$_release/foster-share.tar.gz")
sha256sums=({sha256(dist / "foster-share.tar.gz")})
{sources}
package() {{
    install -D -m 755 "foster-$pkgver-$CARCH" "$pkgdir/usr/bin/foster"
    cp -r share "$pkgdir/usr/share"
}}
"""


def main(dist, names):
    machines = [one for one in architectures(names) if one.arch != "-"]
    (dist / "PKGBUILD").write_text(pkgbuild(package(), dist, machines))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(pathlib.Path(sys.argv[1]), sys.argv[2:])
