"""pytest fixtures; load with ``pytest_plugins = ["controlplane.fixtures"]`` in the top conftest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controlplane import build
from controlplane.launcher import ControlPlane

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NEEDED_BY_FIXTURE = {"control_plane": ("k8s", "kwok"), "kubeconfig": ("k8s", "kwok")}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the collected tests need, before any of them runs.

    The first time takes minutes, which no test's timeout would bear.
    """
    if session.config.option.collectonly:
        return
    needed = {
        tool
        for item in session.items
        for fixture in getattr(item, "fixturenames", ())
        for tool in _NEEDED_BY_FIXTURE.get(fixture, ())
    }
    for item in session.items:
        if item.get_closest_marker("cluster") is not None:
            needed |= {"k8s", "kwok"}
        for marker in item.iter_markers("tools"):
            needed |= set(marker.args)
    if not needed:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        _build(needed)
        return
    # Progress is worth nothing if it is shown after the fact.
    with capture.global_and_fixture_disabled():
        _build(needed)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "tools(*names): needs these built tools, such as helm or prometheus")


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """One control plane with KWOK for the whole run (for each worker, where there are several).

    Tests share it: use names of your own, and clean up what others would see. Whoever kills its parts starts another.
    """
    with ControlPlane() as started:
        yield started


@pytest.fixture(scope="session")
def kubeconfig(control_plane: ControlPlane) -> Path:
    """An administrator's kubeconfig of the shared control plane."""
    return control_plane.kubeconfig


def _build(names: set[str]) -> None:
    for recipe in build.expand(sorted(names)):
        build.build(recipe)
