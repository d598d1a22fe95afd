"""The memory that survives a restart: what is written, how often, and what becomes of a broken one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from switchyard.cluster import commands as cmd
from switchyard.kube import errors
from switchyard.loop import keeping

REF = keeping.ref(name="switchyard-memory", namespace="here")


class Notes:
    """A section: whatever JSON, but no text."""

    def __init__(self, known: Any = None) -> None:
        self.known = known

    def dump(self) -> Any:
        return self.known

    def load(self, found: Any) -> None:
        if isinstance(found, str):
            raise ValueError("no text")
        self.known = found


class Server:
    """One ConfigMap, as the executor leaves it."""

    def __init__(self, data: Any = None) -> None:
        self.body: dict[str, Any] | None = None if data is None else {"metadata": {"uid": "u"}, "data": data}
        self.answers: list[Exception] = []
        self.outcome = cmd.Outcome.DONE
        self.commands: list[cmd.Command] = []

    async def read(self, ref: cmd.Ref) -> Mapping[str, Any]:
        assert ref == REF
        if self.answers:
            raise self.answers.pop(0)
        if self.body is None:
            raise errors.ApiError(status=404, reason="NotFound")
        return self.body

    async def run(self, todo: Iterable[cmd.Command]) -> list[cmd.Result]:
        results = []
        for command in todo:
            self.commands.append(command)
            if isinstance(command, cmd.Patch) and self.outcome is cmd.Outcome.DONE:
                assert command.type is cmd.PatchType.APPLY
                self.body = {"metadata": {"uid": "u"}, **command.body}
            results.append(cmd.Result(command=command, outcome=self.outcome))
        return results

    @property
    def written(self) -> int:
        return sum(isinstance(command, cmd.Patch) for command in self.commands)

    @property
    def told(self) -> list[cmd.Emit]:
        return [command for command in self.commands if isinstance(command, cmd.Emit)]


def keeper(server: Server, *, speed: float = 1.0, every: float = 600.0, **sections: Notes) -> keeping.Keeper:
    return keeping.Keeper(
        ref=REF, sections=sections, speed=speed, read=server.read, executor=server, every_seconds=every
    )


async def written(**known: Any) -> dict[str, str]:
    server = Server()
    notes: dict[str, Any] = {name: Notes(value) for name, value in known.items()}
    first = keeper(server, **notes)
    await first.recall()
    await first.keep()
    assert server.body is not None
    found: dict[str, str] = server.body["data"]
    return found


async def test_what_is_kept_comes_back() -> None:
    server = Server(await written(switching={"a": [1.5]}, planning=[1, 2]))
    switching, planning = Notes(), Notes()
    second = keeper(server, switching=switching, planning=planning)
    await second.recall()
    assert (switching.known, planning.known) == ({"a": [1.5]}, [1, 2])
    assert server.told == []
    await second.keep()
    assert server.written == 0, "nothing is new"
    planning.known = [3]
    await second.keep()
    await second.keep()
    assert server.written == 1


async def test_it_is_written_now_and_then_and_only_when_it_has_changed() -> None:
    server = Server()
    notes = Notes({"n": 1})
    running = keeper(server, every=0.01, switching=notes)
    await running.recall()
    task = asyncio.create_task(running.run())
    await asyncio.sleep(0.1)
    assert server.written == 1
    notes.known = {"n": 2}
    await asyncio.sleep(0.1)
    task.cancel()
    assert server.written == 2


async def test_who_has_not_remembered_yet_does_not_overwrite() -> None:
    server = Server(await written(switching={"dear": 1}))
    await keeper(server, switching=Notes({})).keep()
    assert server.written == 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"version": "99", "speed": "1", "switching": "{}"}, "its version is '99', '1' is this operator's"),
        ({"speed": "1", "switching": "{}"}, "its version is None"),
        ({"version": "1", "speed": "240", "switching": "{}"}, "its speed is '240', '1' is this operator's"),
        ({"version": "1", "speed": "1", "switching": "{"}, "switching makes no sense"),
        ({"version": "1", "speed": "1", "switching": '"text"'}, "switching makes no sense (no text)"),
        ({"version": "1", "speed": "1", "switching": 7}, "switching makes no sense"),
        ("no mapping", "it has no data"),
    ],
)
async def test_a_broken_memory_is_told_and_begun_anew(data: Any, words: str) -> None:
    server = Server(data)
    notes, other = Notes("untouched"), Notes("untouched")
    started = keeper(server, switching=notes, other=other)
    await started.recall()
    assert notes.known == other.known == "untouched"
    (event,) = server.told
    assert event.warning
    assert event.reason == "MemoryUnreadable"
    assert words in event.message
    notes.known = {"fresh": 1}
    await started.keep()
    assert server.body is not None
    assert json.loads(server.body["data"]["switching"]) == {"fresh": 1}


async def test_one_section_that_makes_no_sense_does_not_take_the_others_with_it() -> None:
    server = Server({"version": "1", "speed": "1", "switching": "{", "planning": "[1]"})
    switching, planning = Notes("untouched"), Notes()
    await keeper(server, switching=switching, planning=planning).recall()
    assert (switching.known, planning.known) == ("untouched", [1])
    assert len(server.told) == 1


async def test_a_server_that_is_busy_is_waited_for_and_one_that_refuses_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeping, "_RETRY_SECONDS", 0.0)
    server = Server(await written(switching={"a": 1}))
    server.answers = [errors.UnreachableError("away"), errors.ApiError(status=429), errors.ApiError(status=503)]
    notes = Notes()
    await keeper(server, switching=notes).recall()
    assert notes.known == {"a": 1}
    server.answers = [errors.ApiError(status=403, message="forbidden")]
    fresh = Notes("untouched")
    await keeper(server, switching=fresh).recall()
    assert fresh.known == "untouched"


async def test_what_could_not_be_written_is_tried_again() -> None:
    server = Server()
    server.outcome = cmd.Outcome.FAILED
    started = keeper(server, switching=Notes({"a": 1}))
    await started.recall()
    await started.keep()
    assert server.body is None
    server.outcome = cmd.Outcome.DONE
    await started.keep()
    assert server.written == 2
    assert server.body is not None


async def test_it_never_grows_beyond_what_a_config_map_shall_hold() -> None:
    server = Server()
    small, large = Notes({"a": 1}), Notes(["x" * 100] * 6000)
    started = keeper(server, switching=small, planning=large)
    await started.recall()
    await started.keep()
    assert server.body is not None
    assert set(server.body["data"]) == {"version", "speed", "switching"}
    assert len(json.dumps(server.body["data"])) < keeping.MOST_BYTES


async def test_a_section_that_cannot_be_told_ends_nobody() -> None:
    class Broken(Notes):
        def dump(self) -> Any:
            raise RuntimeError("never")

    server = Server()
    started = keeper(server, switching=Broken())
    await started.recall()
    await started.keep()
    assert server.written == 0
