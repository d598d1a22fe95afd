"""Rewrite the go.mod of the Kubernetes tools for one version of Kubernetes.

Kubernetes' own go.mod points its staging modules at folders beside itself, and Go ignores that from outside, so
whoever imports it must repeat one ``replace`` for each of them. This writes them all from one number:

    python tests/controlplane/go/update_k8s.py 1.36.3 [--etcd 3.6.8]

and runs ``go mod tidy``. With no version it rewrites the file for the version that it names already.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path

MODULE_FOLDER = Path(__file__).resolve().parent / "k8s"
_IMPORTED_STAGING = ("client-go", "component-base", "kubectl")


def current_version(*, go_mod: Path) -> str:
    """Return the version of Kubernetes that this go.mod asks for, without the v."""
    found = re.search(r"k8s\.io/kubernetes v([0-9.]+)", go_mod.read_text())
    if found is None:
        raise SystemExit(f"{go_mod} names no version of k8s.io/kubernetes")
    return found.group(1)


def current_etcd(*, go_mod: Path) -> str:
    """Return the version of etcd that this go.mod asks for, without the v."""
    found = re.search(r"go\.etcd\.io/etcd/server/v3 v([0-9.]+)", go_mod.read_text())
    if found is None:
        raise SystemExit(f"{go_mod} names no version of etcd")
    return found.group(1)


def upstream_go_mod(*, version: str) -> str:
    """Fetch the go.mod of this version of Kubernetes through the Go command."""
    answer = subprocess.run(
        ["go", "mod", "download", "-json", f"k8s.io/kubernetes@v{version}"],
        cwd=MODULE_FOLDER.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    return Path(json.loads(answer.stdout)["GoMod"]).read_text()


def render(*, version: str, etcd: str, upstream: str) -> str:
    """Write the go.mod as text, from the version and Kubernetes' own go.mod."""
    minor = version.split(".", 1)[1]
    staging = sorted(re.findall(r"^\s*(k8s\.io/[\w.-]+) => \./staging/", upstream, flags=re.MULTILINE))
    if not staging:
        raise SystemExit(f"the go.mod of Kubernetes {version} replaces no staging modules: has its layout changed?")
    go_line = re.search(r"^go (\S+)$", upstream, flags=re.MULTILINE)
    if go_line is None:
        raise SystemExit(f"the go.mod of Kubernetes {version} names no version of Go")
    required = [f"\tk8s.io/{name} v0.{minor}" for name in _IMPORTED_STAGING]
    lines = [
        "// Written by update_k8s.py beside this folder: change the version there, not the lines here.",
        "module switchyard.farm/tests/controlplane/k8s",
        "",
        f"go {go_line.group(1)}",
        "",
        "require (",
        f"\tgo.etcd.io/etcd/server/v3 v{etcd}",
        f"\tk8s.io/kubernetes v{version}",
        *required,
        ")",
        "",
        "replace (",
        *(f"\t{name} => {name} v0.{minor}" for name in staging),
        ")",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Rewrite go.mod and go.sum."""
    go_mod = MODULE_FOLDER / "go.mod"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", nargs="?", help="of Kubernetes, such as 1.36.3")
    parser.add_argument("--etcd", help="version of the etcd server, such as 3.6.8")
    options = parser.parse_args()
    version = (options.version or current_version(go_mod=go_mod)).removeprefix("v")
    etcd = (options.etcd or current_etcd(go_mod=go_mod)).removeprefix("v")
    go_mod.write_text(render(version=version, etcd=etcd, upstream=upstream_go_mod(version=version)))
    subprocess.run(["go", "mod", "tidy"], cwd=MODULE_FOLDER, check=True)


if __name__ == "__main__":
    main()
