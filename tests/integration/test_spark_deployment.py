"""The files for clusters, read by Spark's own code: all that can be checked without a cluster."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import py4j.java_gateway
import py4j.protocol
import pytest
import yaml
from pyspark.java_gateway import launch_gateway

from models.training.java import find_java
from models.training.spark_defaults import read_defaults

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "spark"
KUBERNETES = DEPLOY / "kubernetes"
# Spark knows a setting once the part of it that defines it is loaded.
DEFINING = (
    "org.apache.spark.internal.config.package$",
    "org.apache.spark.internal.config.Python$",
    "org.apache.spark.internal.config.Network$",
    "org.apache.spark.deploy.k8s.Config$",
    "org.apache.spark.deploy.yarn.config.package$",
)
# A name that carries a value of its own: an environment variable.
OPEN_PREFIXES = ("spark.executorEnv.", "spark.yarn.appMasterEnv.")


@pytest.fixture(scope="module")
def jvm() -> Iterator[Any]:
    """Spark's classes without a session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_HOME", str(find_java()))
        # A session that another test opened has put its own translation of Java's errors there, and
        # so the end of a Java iterator is an error.
        patch.setattr(py4j.java_gateway, "get_return_value", py4j.protocol.get_return_value)
        gateway = launch_gateway()
        try:
            yield gateway.jvm
        finally:
            gateway.shutdown()
            gateway.proc.stdin.close()
            gateway.proc.wait(30)


@pytest.mark.parametrize("cluster", ["standalone", "yarn", "kubernetes"])
def test_spark_reads_the_defaults_and_knows_every_setting(jvm: Any, cluster: str) -> None:  # noqa: ANN401
    path = DEPLOY / cluster / "spark-defaults.conf"
    read = jvm.org.apache.spark.util.Utils.getPropertiesFromFile(str(path))
    settings = dict(jvm.scala.jdk.javaapi.CollectionConverters.asJava(read))
    assert settings == read_defaults(path)
    for name in DEFINING:
        jvm.java.lang.Class.forName(name)
    find = jvm.org.apache.spark.internal.config.ConfigEntry.findEntry
    assert find("spark.task.cpu") is None
    for name in settings:
        assert name.startswith(OPEN_PREFIXES) or find(name) is not None, name
    # Ranks need these, whatever the cluster.
    assert settings["spark.dynamicAllocation.enabled"] == "false"
    assert settings["spark.task.cpus"] == settings["spark.executor.cores"]


def test_spark_makes_an_executor_out_of_the_pod_template(jvm: Any) -> None:  # noqa: ANN401
    conf = jvm.org.apache.spark.SparkConf(False)
    settings = read_defaults(KUBERNETES / "spark-defaults.conf") | {
        "spark.kubernetes.executor.podTemplateFile": str(KUBERNETES / "executor-pod.yaml"),
        "spark.app.name": "sightline-train",
        "spark.app.id": "spark-1",
        "spark.master": "k8s://https://127.0.0.1:1",
        # Off for this look alone: the secret comes from a running driver.
        "spark.authenticate": "false",
        "spark.network.crypto.enabled": "false",
    }
    for name, value in settings.items():
        conf.set(name, value)
    nothing = jvm.scala.Option.empty()
    k8s = jvm.org.apache.spark.deploy.k8s
    executor = k8s.KubernetesConf.createExecutorConf(conf, "1", "spark-1", nothing, 0)
    secret_file = jvm.org.apache.spark.internal.config.ConfigEntry.findEntry(
        "spark.authenticate.secret.file"
    )
    profiles = jvm.org.apache.spark.resource.ResourceProfileManager(
        conf, jvm.org.apache.spark.scheduler.LiveListenerBus(conf)
    )
    made = jvm.org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBuilder().buildFromFeatures(
        executor,
        jvm.org.apache.spark.SecurityManager(conf, nothing, secret_file),
        jvm.io.fabric8.kubernetes.client.KubernetesClientBuilder().build(),
        profiles.defaultResourceProfile(),
    )
    write = jvm.io.fabric8.kubernetes.client.utils.Serialization.asYaml
    pod = yaml.safe_load(write(made.pod().pod()))
    container = yaml.safe_load(write(made.pod().container()))
    assert container["image"] == settings["spark.kubernetes.container.image"]
    assert container["args"] == ["executor"]
    assert container["resources"]["limits"]["cpu"] == "4"
    assert {"name": "runs", "mountPath": "/var/lib/sightline"} in container["volumeMounts"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod["spec"]["securityContext"]["runAsUser"] == 10001
    claims = [volume.get("persistentVolumeClaim") for volume in pod["spec"]["volumes"]]
    assert {"claimName": "sightline-runs"} in claims
    # What the entry point turns into Java's arguments.
    given = {entry["name"] for entry in container["env"]}
    script = (KUBERNETES / "entrypoint.sh").read_text()
    for name in (
        *("SPARK_DRIVER_URL", "SPARK_EXECUTOR_ID", "SPARK_EXECUTOR_CORES", "SPARK_APPLICATION_ID"),
        *("SPARK_EXECUTOR_POD_IP", "SPARK_EXECUTOR_POD_NAME", "SPARK_RESOURCE_PROFILE_ID"),
        "SPARK_EXECUTOR_MEMORY",
    ):
        assert name in given
        assert f"${name}" in script


@pytest.mark.parametrize("file", ["executor-pod.yaml", "driver.yaml"])
def test_kubernetes_knows_every_field_of_the_manifests(jvm: Any, file: str) -> None:  # noqa: ANN401
    read = jvm.io.fabric8.kubernetes.client.utils.Serialization.unmarshal
    for document in yaml.safe_load_all((KUBERNETES / file).read_text()):
        made = read(yaml.safe_dump(document))
        assert made.getKind() == document["kind"]
        assert list(unknown_fields(jvm, made, document["kind"])) == []


def unknown_fields(jvm: Any, made: Any, where: str) -> Iterator[str]:  # noqa: ANN401
    """Fields that Kubernetes' own types have no place for."""
    for name, value in bean(jvm, made):
        if name == "additionalProperties":
            yield from (f"{where}.{field}" for field in value)
        elif hasattr(value, "getClass") and "fabric8" in value.getClass().getName():
            yield from unknown_fields(jvm, value, f"{where}.{name}")
        elif hasattr(value, "append"):
            for entry in value:
                if hasattr(entry, "getClass"):
                    yield from unknown_fields(jvm, entry, f"{where}.{name}")


def bean(jvm: Any, made: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    described = jvm.java.beans.Introspector.getBeanInfo(made.getClass())
    for entry in described.getPropertyDescriptors():
        read, name = entry.getReadMethod(), entry.getName()
        if read is None or name == "class":
            continue
        value = read.invoke(made, None)
        if value is not None:
            yield name, value
