#!/usr/bin/env python3
"""Whether the files in docs/examples are what their platforms take, and whether foster's times fit into the platform's.

Without a network: kubernetes-validate, botocore and check-jsonschema ship the schemas. tests/suite/examples.rs runs it.
"""
import json
import sys
from pathlib import Path

import botocore.session
import check_jsonschema.builtin_schemas as builtin
import jsonschema
import kubernetes_validate
import yaml
from botocore.validate import ParamValidator

examples = Path(sys.argv[1])


def seconds(duration):
    return int(str(duration).removesuffix("s"))


def check_times(name, environment, limit):
    """Held back, then the command's own time, then foster's SIGKILL, then the platform's: in this order, 2 s apart."""
    grace = seconds(environment["FOSTER_GRACE"])
    assert seconds(environment.get("FOSTER_STOP_DELAY", 0)) < grace <= limit - 2, f"{name}: {environment}, {limit}"


def kubernetes(path):
    document = yaml.safe_load(path.read_text())
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    pod = document["spec"]["template"]["spec"] if document["kind"] == "Deployment" else document["spec"]
    for container in pod["containers"]:
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        check_times(path.name, environment, pod["terminationGracePeriodSeconds"])


def check_enums(value, shape, where):
    """What botocore leaves to the service: one of the words that a field may have."""
    if shape.type_name == "structure":
        for key, member in value.items():
            check_enums(member, shape.members[key], f"{where}.{key}")
    elif shape.type_name == "list":
        for member in value:
            check_enums(member, shape.member, where)
    elif shape.type_name == "string" and shape.enum:
        assert value in shape.enum, f"{where}: {value}"


def ecs(path):
    document = json.loads(path.read_text())
    service = botocore.session.get_session().get_service_model("ecs")
    shape = service.operation_model("RegisterTaskDefinition").input_shape
    report = ParamValidator().validate(document, shape)
    assert not report.has_errors(), report.generate_report()
    check_enums(document, shape, path.name)
    for container in document["containerDefinitions"]:
        environment = {variable["name"]: variable["value"] for variable in container["environment"]}
        check_times(path.name, environment, container["stopTimeout"])


def compose(path):
    document = yaml.safe_load(path.read_text())
    schema = builtin.get_builtin_schema("vendor.compose-spec")
    jsonschema.validators.validator_for(schema)(schema).validate(document)
    for service in document["services"].values():
        check_times(path.name, service["environment"], seconds(service["stop_grace_period"]))


checked = 0
for path in sorted(examples.rglob("*.*")):
    check = {"kubernetes": kubernetes, "ecs-task-definition.json": ecs, "compose.yaml": compose}
    (check.get(path.parent.name) or check[path.name])(path)
    checked += 1
print(f"{checked} examples")
