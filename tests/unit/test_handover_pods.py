from __future__ import annotations

import json
import re
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import handover_world as hw
from switchyard.cluster import names
from switchyard.handover import machine, pods

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", fullmatch=True)


def miner(**changes: Any) -> dict[str, Any]:
    world = hw.World()
    create = pods.miner(
        rig=world.rig("r1"),
        node=world.nodes["r1"],
        coin=hw.coin(),
        started=hw.T0,
        settings=machine.Settings(**changes),
    )
    assert create.body["metadata"]["name"] == create.ref.name
    assert create.body["metadata"]["namespace"] == create.ref.namespace
    json.dumps(create.body)
    return dict(create.body)


def gang(**changes: Any) -> dict[str, Any]:
    create = pods.job(hw.job(**changes), hw.SETTINGS)
    json.dumps(create.body)
    return dict(create.body)


def template(spec: dict[str, Any], metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"metadata": metadata or {}, "spec": spec}


def test_the_miner_takes_all_gpus_of_its_node_by_way_of_the_scheduler() -> None:
    spec = miner()["spec"]
    (container,) = spec["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "6"}
    assert "nodeName" not in spec
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["r1"]}]}
    assert spec["tolerations"] == [
        {"key": names.TAINT_HELD, "operator": "Equal", "value": "mining", "effect": "NoSchedule"}
    ]
    assert spec["restartPolicy"] == "Always"


def test_the_wallet_is_a_reference_and_the_arguments_stay_as_written() -> None:
    (container,) = miner()["spec"]["containers"]
    assert container["args"] == ["--user", "$(WALLET).$(RIG)", "--pool", "$(POOL)"]
    env = {entry["name"]: entry for entry in container["env"]}
    assert env["WALLET"] == {"name": "WALLET", "valueFrom": {"secretKeyRef": {"name": "wallet", "key": "address"}}}
    assert env["POOL"]["value"] == "stratum+tcp://one:1"
    assert env["POOLS"]["value"] == "stratum+tcp://one:1,stratum+tcp://two:2"
    assert env["RIG"]["value"] == "r1"


def test_the_miner_belongs_to_its_rig() -> None:
    metadata = miner()["metadata"]
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Rig", "r1", "uid-r1")
    assert metadata["labels"][names.LABEL_ROLE] == "miner"
    assert metadata["labels"][names.LABEL_RIG] == "r1"
    assert metadata["labels"][names.LABEL_COIN] == "kas"


def test_a_priority_class_is_set_only_where_there_is_one() -> None:
    assert "priorityClassName" not in miner()["spec"]
    assert miner(miner_priority_class="mining")["spec"]["priorityClassName"] == "mining"


@given(SUBDOMAIN, SUBDOMAIN, st.integers(0, 10**9))
def test_names_of_miners_are_labels_and_tell_starts_apart(rig: str, coin: str, seconds: int) -> None:
    name = pods.miner_name(rig, coin, hw.after(seconds))
    assert LABEL.fullmatch(name)
    assert name == pods.miner_name(rig, coin, hw.after(seconds))
    assert name != pods.miner_name(rig, coin, hw.after(seconds + 1))
    assert name != pods.miner_name(rig, f"{coin}2", hw.after(seconds))


@given(SUBDOMAIN, st.uuids())
def test_names_of_jobs_leave_room_for_the_index(name: str, uid: object) -> None:
    found = pods.job_name(hw.job(name=name, uid=str(uid)))
    assert SERVICE.fullmatch(found)
    assert len(f"{found}-99999") <= 63


def test_the_gang_is_an_indexed_job_that_evictions_cost_nothing() -> None:
    body = gang(ttl_seconds=90.5)
    spec = body["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    assert spec["podFailurePolicy"]["rules"][0] == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    assert spec["ttlSecondsAfterFinished"] == 91
    assert "ttlSecondsAfterFinished" not in gang()["spec"]
    (owner,) = body["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("AIJob", "train")
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["nodeSelector"] == {names.LABEL_CLAIM: "0a1b2c3d-job"}
    assert pod["subdomain"] == pods.job_name(hw.job())
    assert {entry["key"] for entry in pod["tolerations"]} == {
        names.TAINT_HELD,
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    }
    labels = spec["template"]["metadata"]["labels"]
    assert (labels[names.LABEL_ROLE], labels[names.LABEL_AIJOB]) == ("work", "train")


def test_what_the_customer_wrote_stays_but_for_what_is_ours() -> None:
    given_template = template(
        {
            "restartPolicy": "OnFailure",
            "nodeSelector": {"disk": "ssd", names.LABEL_CLAIM: "forged"},
            "tolerations": [{"key": "theirs", "operator": "Exists"}],
            "containers": [
                {
                    "name": "main",
                    "image": "x",
                    "env": [{"name": "A", "value": "1"}, {"name": "SWITCHYARD_JOB_ID", "value": "forged"}],
                    "resources": {
                        "limits": {"memory": "1Gi", "nvidia.com/gpu": "99"},
                        "requests": {"nvidia.com/gpu": 1},
                    },
                },
                {"name": "side", "image": "y"},
            ],
        },
        {"labels": {"team": "a", names.LABEL_ROLE: "miner"}, "annotations": {"note": "n"}},
    )
    frozen = types.MappingProxyType(given_template)
    before = json.dumps(given_template)
    found = gang(template=frozen, attempts=3)["spec"]["template"]
    assert json.dumps(given_template) == before
    assert found["metadata"]["labels"]["team"] == "a"
    assert found["metadata"]["labels"][names.LABEL_ROLE] == "work"
    assert found["metadata"]["annotations"] == {"note": "n"}
    spec = found["spec"]
    assert spec["restartPolicy"] == "Never"
    assert spec["nodeSelector"] == {"disk": "ssd", names.LABEL_CLAIM: "0a1b2c3d-job"}
    assert spec["tolerations"][0] == {"key": "theirs", "operator": "Exists"}
    main, side = spec["containers"]
    assert main["resources"] == {"limits": {"memory": "1Gi", "nvidia.com/gpu": "6"}, "requests": {}}
    assert "resources" not in side
    for container in (main, side):
        env = {entry["name"]: entry["value"] for entry in container["env"]}
        assert env["SWITCHYARD_JOB_ID"] == "0a1b2c3d-job"
        assert env["SWITCHYARD_ATTEMPT"] == "3"
        assert env["SWITCHYARD_GRACE_SECONDS"] == "120"
        assert "SWITCHYARD_CHECKPOINT_INTERVAL" not in env


def test_work_is_told_how_often_to_save_in_seconds() -> None:
    found = gang(template=template({"containers": [{"name": "main"}]}), checkpoint_interval_seconds=1560.0)
    (container,) = found["spec"]["template"]["spec"]["containers"]
    told = {entry["name"]: entry["value"] for entry in container["env"]}
    assert told["SWITCHYARD_CHECKPOINT_INTERVAL"] == "1560"


@pytest.mark.parametrize(
    ("notice", "given", "wanted"),
    [(120.0, None, 120), (5.0, None, 30), (90.5, None, 91), (120.0, 600, 600), (120.0, "x", 120), (120.0, -1, 120)],
)
def test_grace_is_the_templates_word_or_the_notice(notice: float, given: object, wanted: int) -> None:
    spec = {"containers": [{"name": "main"}], **({} if given is None else {"terminationGracePeriodSeconds": given})}
    job = hw.job(notice_seconds=notice, template=template(spec))
    assert pods.grace_seconds(job) == wanted
    body = pods.job(job, hw.SETTINGS).body
    assert body["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == wanted


@pytest.mark.parametrize("odd", [{}, {"spec": None}, {"spec": {"containers": "x"}}, {"metadata": [], "spec": []}])
def test_an_odd_template_is_left_for_the_api_server_to_refuse(odd: dict[str, Any]) -> None:
    assert gang(template=odd)["spec"]["template"]["spec"]["containers"] == []


def test_the_service_finds_the_pods_of_the_job_before_they_are_ready() -> None:
    create = pods.service(hw.job())
    assert create.ref.name == pods.job_name(hw.job())
    assert create.body["spec"] == {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {"batch.kubernetes.io/job-name": create.ref.name},
    }
