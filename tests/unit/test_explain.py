from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from switchyard import cli
from switchyard.cli import explain as command
from switchyard.status import explain, wording

NOW = datetime.datetime(2026, 7, 1, 12, 3, tzinfo=datetime.UTC)

KAS = {
    "mode": "Mining/kas",
    "netUsdPerHour": "0.22",
    "revenueUsdPerHour": "0.3",
    "feesUsdPerHour": "0.01",
    "powerUsdPerHour": "0.07",
    "watts": 860,
    "regretUsd": "0",
}
JOB = {
    "mode": "AI/t/render",
    "netUsdPerHour": "0.32",
    "revenueUsdPerHour": "0.45",
    "feesUsdPerHour": "0",
    "powerUsdPerHour": "0.13",
    "watts": 1600,
    "costToMoveUsd": "0.05",
    "secondsToMove": 240,
    "regretUsd": "0.031",
    "lacks": "0.0190 $ of regret",
}
REFUSED = {"mode": "AI/t/train", "refused": "HostLink", "lacks": "needs 4.00 GB/s, has 0.80"}


def rig(**over: Any) -> dict[str, Any]:
    status = {
        "pool": "main",
        "mode": {"desired": "Mining/kas", "observed": "Mining/kas"},
        "hardware": {"gpus": [{"model": "RTX-3070", "memoryMiB": 8192}] * 6},
        "decision": {
            "at": "2026-07-01T12:00:00Z",
            "chosen": "Mining/kas",
            "reason": "RegretBelowCost",
            "message": "the move does not pay yet",
            "heldBy": "",
            "alternatives": [JOB, KAS, REFUSED],
        },
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Settled"},
            {"type": "Switching", "status": "False", "reason": "Settled", "lastTransitionTime": "2026-07-01T09:03:00Z"},
        ],
    }
    return {"metadata": {"name": "gpu-7"}, "spec": {"siteRef": {"name": "barn"}}, "status": {**status, **over}}


def feed(trust: str) -> dict[str, Any]:
    return {"metadata": {"name": "kas-usd"}, "status": {"trust": trust, "lastGood": {"asOf": "2026-07-01T11:18:00Z"}}}


def test_a_decision_reads_like_this() -> None:
    assert explain.lines(explain.rig(rig(), now=NOW, feeds=[feed("0.61")])) == [
        "gpu-7 mines kas",
        "  Now       Mining/kas since 2026-07-01 09:03:00 UTC (3 h ago)",
        "  In        pool main, site barn",
        "  Hardware  6 x RTX-3070 8 GiB",
        "",
        "  MODE         NET $/h  REVENUE    FEES   POWER  WATTS         TO MOVE  REGRET $  LACKS",
        "  AI/t/render   0.3200   0.4500  0.0000  0.1300   1600  0.0500 $ 4 min    0.0310  0.0190 $ of regret",
        "> Mining/kas    0.2200   0.3000  0.0100  0.0700    860               -    0.0000",
        "  AI/t/train         -        -       -       -      -               -         -  "
        "HostLink: needs 4.00 GB/s, has 0.80",
        "",
        "Why Mining/kas (RegretBelowCost): the move does not pay yet",
        "AI/t/render would earn 0.1000 $/h more; the move to it would pay for itself in 30 min.",
        "Figures of 2026-07-01 12:00:00 UTC (3 min ago).",
        "Prices that are not fully trusted:",
        "  kas-usd: trust 61%, last good value of 2026-07-01 11:18:00 UTC (45 min ago)",
    ]


def test_a_feed_tells_its_dollars_and_how_far_it_knows() -> None:
    status = {
        "trust": "1.00",
        "lastGood": {"value": "50", "unit": "EUR/MWh", "asOf": "2026-07-01T12:00:00Z"},
        "converted": {"value": "0.055", "unit": "USD/kWh"},
        "forecast": {"publishedAt": "2026-07-01T11:00:00Z", "until": "2026-07-02T22:00:00Z"},
    }
    text = explain.lines(explain.pricefeed({"metadata": {"name": "spot"}, "status": status}, now=NOW))
    assert text[:5] == [
        "spot is trusted",
        "  Value        50 EUR/MWh, as of 2026-07-01 12:00:00 UTC (3 min ago)",
        "  In dollars   0.055 USD/kWh",
        "  Trust        100%",
        "  Known until  2026-07-02 22:00:00 UTC (in 1 d 10 h), published 2026-07-01 11:00:00 UTC (1 h 3 min ago)",
    ]


def said(body: dict[str, Any], **over: Any) -> str:
    return "\n".join(explain.lines(explain.rig(body, now=NOW, **over)))


@pytest.mark.parametrize(
    ("expert", "words"),
    [
        ("WorkFunction", "Follows WorkFunction: it moves when what was forgone has paid for the move."),
        ("LookAhead", "Follows LookAhead: it counts on forecasts, and on the demand it has learned."),
        ("Stay/Idle", "Follows Stay/Idle: it keeps to one mode, and of late nothing else has earned more."),
    ],
)
def test_whose_word_a_rig_follows_is_told(expert: str, words: str) -> None:
    decided = rig()["status"]["decision"]
    assert words in said(rig(decision={**decided, "expert": expert}))


def test_what_a_demand_pays_while_it_is_wanted_is_not_what_the_rig_would_earn() -> None:
    decided = rig()["status"]["decision"]
    rented = {**KAS, "mode": "AI/rented", "netUsdPerHour": "0.9000", "lacks": "wanted on 2 rigs of this kind"}
    text = said(rig(decision={**decided, "alternatives": [rented, KAS]}))
    assert "wanted on 2 rigs of this kind" in text
    assert "AI/rented would earn" not in text


def test_a_switch_shows_its_step_and_deadline() -> None:
    text = said(
        rig(
            mode={"desired": "AI/t/render", "observed": "Switching"},
            step={
                "name": "Stopping",
                "since": "2026-07-01T12:02:00Z",
                "deadline": "2026-07-01T12:04:00Z",
                "reason": "Admitted",
                "message": "admitted with its gang",
            },
        )
    )
    assert text.startswith("gpu-7 is on its way to AI/t/render\n")
    assert "Stopping since 2026-07-01 12:02:00 UTC (60 s ago), at most until 2026-07-01 12:04:00 UTC (in 60 s)" in text
    assert "(admitted with its gang)" in text


def test_what_holds_a_rig_back_and_what_ails_it_is_said() -> None:
    body = rig(
        conditions=[{"type": "Ready", "status": "False", "reason": "NodeGone", "message": "There is no Node n."}]
    )
    body["status"]["decision"]["heldBy"] = "pool main: 2 of 2 rigs in a hand-over"
    body["spec"]["pin"] = "AI"
    text = said(body, feeds=[feed("1.00")])
    assert "Trouble   NodeGone: There is no Node n." in text
    assert "Held back by: pool main: 2 of 2 rigs in a hand-over" in text
    assert "Pinned    to AI" in text
    assert "The price feed is fresh." in text


@pytest.mark.parametrize("status", [{}, None, {"conditions": []}, {"decision": {}}, {"decision": {"chosen": "Idle"}}])
def test_a_rig_of_which_little_is_known_is_explained_too(status: dict[str, Any] | None) -> None:
    assert explain.lines(explain.rig({"metadata": {"name": "new"}, "status": status}, now=NOW))[0].startswith("new: ")


def test_why_nothing_is_decided() -> None:
    decided = {"type": "Decided", "status": "False", "reason": "NoHardware", "message": "no GPU is known yet"}
    body = {"metadata": {"name": "new"}, "status": {"conditions": [decided]}}
    assert "Nothing is decided (NoHardware): no GPU is known yet" in said(body)


@pytest.mark.parametrize(
    ("conditions", "headline"),
    [
        ([], "t/train has not been looked at yet"),
        ([("Admitted", "False", "BidTooLow", "0.02 short")], "t/train waits (BidTooLow): 0.02 short"),
        ([("Admitted", "True", "", ""), ("Running", "False", "", "Pulling.")], "t/train is starting: Pulling."),
        ([("Admitted", "True", "", ""), ("Running", "True", "", "")], "t/train runs"),
        (
            [("Admitted", "True", "", ""), ("Preempted", "True", "Outbid", "a better bid")],
            "t/train is being stopped (Outbid): a better bid",
        ),
        ([("Finished", "True", "Succeeded", "")], "t/train has succeeded"),
        ([("Finished", "True", "Failed", "")], "t/train has failed"),
    ],
)
def test_where_a_job_stands(conditions: list[tuple[str, str, str, str]], headline: str) -> None:
    shown = [dict(zip(("type", "status", "reason", "message"), entry, strict=True)) for entry in conditions]
    body = {"metadata": {"name": "train", "namespace": "t"}, "spec": {}, "status": {"conditions": shown}}
    assert explain.aijob(body, now=NOW).headline == headline


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (99.4, "99 s"),
        (100, "2 min"),
        (3599, "60 min"),
        (3600, "1 h"),
        (5880, "1 h 38 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert wording.span(seconds) == text


def test_a_replayed_farm_is_not_said_to_be_five_years_old() -> None:
    assert wording.when("2021-10-18T05:00:00Z", now=NOW) == "2021-10-18 05:00:00 UTC"


# --- the command ----------------------------------------------------------------------------------------------


class Objects:
    """What a cluster holds."""

    def __init__(self, *bodies: tuple[str, dict[str, Any]]) -> None:
        self._bodies = bodies

    async def get(self, kind: str, name: str, namespace: str | None) -> Mapping[str, Any] | None:
        for body in await self.all(kind):
            if body["metadata"]["name"] == name and body["metadata"].get("namespace") == namespace:
                return body
        return None

    async def all(self, kind: str) -> Sequence[Mapping[str, Any]]:
        return [body for of, body in self._bodies if of == kind]


def target(*words: str, namespace: str = "default") -> list[tuple[str, str, str | None]]:
    return [(one.kind, one.name, one.namespace) for one in command.parse(words, namespace=namespace)]


def test_targets_are_read_as_kubectl_would() -> None:
    assert target("rig/gpu-7", "gp/main") == [("Rig", "gpu-7", None), ("GPUPool", "main", None)]
    assert target("rigs", "gpu-7", "gpu-8") == [("Rig", "gpu-7", None), ("Rig", "gpu-8", None)]
    assert target("aijob/train", namespace="t") == [("AIJob", "train", "t")]
    assert target("AIJob/tenant/train") == [("AIJob", "train", "tenant")]
    assert target("feed/ercot") == [("PriceFeed", "ercot", None)]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["pod/x"], "'pod' is no kind that can be explained. Those are: rig, aijob, pricefeed, gpupool."),
        (["rig"], "Which rig? Say KIND/NAME"),
        (["rig/"], "names nothing"),
        (["rig/a/b"], "names nothing"),
        (["aijob/a/b/c"], "names nothing"),
    ],
)
def test_what_is_not_understood_is_answered_plainly(words: list[str], answer: str) -> None:
    with pytest.raises(command.TellableError) as caught:
        command.parse(words, namespace="default")
    assert answer in str(caught.value)


async def test_a_missing_object_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    objects = Objects(*(("Rig", {"metadata": {"name": f"gpu-{number:02}"}}) for number in range(24)))
    found = await command.explain_all(
        objects, command.parse(["rig/gpu-7", "rig/gpu-03", "feed/x"], namespace="d"), now=NOW
    )
    assert command.show(found, plain=True) == 1
    out, err = capsys.readouterr()
    assert out.startswith("gpu-03: nothing has been decided yet")
    first, second = err.splitlines()
    assert first.startswith("Rig gpu-7 not found. Do you mean gpu-")
    assert "gpu-07" in first.split("?")[0]
    assert "There are 24: gpu-00, gpu-01," in first
    assert first.endswith(", ...")
    assert second == "PriceFeed x not found. There is none of that kind."


async def test_a_rig_is_explained_with_its_prices(capsys: pytest.CaptureFixture[str]) -> None:
    objects = Objects(("Rig", rig()), ("PriceFeed", feed("0.61")))
    found = await command.explain_all(objects, command.parse(["rig/gpu-7"], namespace="d"), now=NOW)
    assert command.show(found, plain=True) == 0
    plain = capsys.readouterr().out
    assert "kas-usd: trust 61%" in plain
    assert command.show(found, plain=False) == 0
    painted = capsys.readouterr().out
    for word in ("gpu-7 mines kas", "AI/t/render", "0.3200", "kas-usd: trust 61%"):
        assert word in painted


def test_trouble_with_the_cluster_is_told_in_one_line(
    tmp_path: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert cli.main(["explain", "rig/gpu-7", "--kubeconfig", str(tmp_path / "none")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


def test_usage_errors_are_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "pod/x"]) == 2
    with pytest.raises(SystemExit) as caught:
        cli.main(["explian"])
    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out.startswith("switchyard ")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from switchyard import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'switchyard.cli.run', 'aiohttp', 'kopf', 'kubernetes', 'pydantic', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stderr
    assert "explain" in found.stdout
