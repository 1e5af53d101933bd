"""What serverless.yml becomes, where moto would not look: routes, alarms, invocation, roles, secrets."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from functions import NAMES
from infra.local.serving import serverless_yml
from sweephand import settings as settings_module
from sweephand.layout import ROOT
from tests.deploy.conftest import PARAMETERS, Service

Template = dict[str, Any]
INDEXING = {"create_job", "create_jobs", "explain_job", "run_schedule", "tick"}
"""The functions that know Redis."""
JUDGING = {
    *("create_job", "create_jobs", "tick"),
    *("put_schedule", "patch_schedule", "run_schedule", "backfill_schedule"),
}
"""The functions that judge payloads."""
EXPLAINED = {
    "W3005": "osls writes each DependsOn that a Ref implies already",
    "W8003": "osls puts the parameter alarmEmail into the template as text, so that its condition is constant",
}
"""Warnings of cfn-lint that may stand, and why."""
REFERENCE = re.compile(r"\{\{resolve:secretsmanager:sweephand/dev:SecretString:([A-Z_]+)::\}\}")


def of_type(template: Template, kind: str) -> dict[str, Template]:
    """Return the properties of every resource of a type, by its logical id."""
    return {name: each["Properties"] for name, each in template["Resources"].items() if each["Type"] == kind}


def functions(template: Template) -> dict[str, Template]:
    """Return the functions' properties by their names in serverless.yml."""
    found = of_type(template, "AWS::Lambda::Function").values()
    return {each["FunctionName"].removeprefix("sweephand-dev-"): each for each in found}


def logical_id(template: Template, function: str) -> str:
    """Return the logical id of a function."""
    return next(
        name
        for name, each in of_type(template, "AWS::Lambda::Function").items()
        if each["FunctionName"] == f"sweephand-dev-{function}"
    )


def test_cfn_lint_finds_nothing_unexplained(service: Service) -> None:
    """The template has no error, and no warning beyond those that are explained here."""
    lint = [str(Path(sys.executable).parent / "cfn-lint"), "--format", "json", "--regions", "eu-west-1", "--"]
    run = subprocess.run([*lint, str(service.template_file)], capture_output=True, text=True, check=False)
    found = json.loads(run.stdout)
    assert found, run.stderr
    assert {each["Rule"]["Id"] for each in found} == set(EXPLAINED)


def test_every_route_reaches_its_function(template: Template) -> None:
    """The HTTP API has the routes of serverless.yml, each to its own function, and all else goes to not_found."""
    integrations = of_type(template, "AWS::ApiGatewayV2::Integration")
    reached = {}
    for route in of_type(template, "AWS::ApiGatewayV2::Route").values():
        integration = integrations[route["Target"]["Fn::Join"][1][1]["Ref"]]
        assert integration["PayloadFormatVersion"] == "2.0"
        reached[route["RouteKey"]] = integration["IntegrationUri"]["Fn::GetAtt"][0]
    events = serverless_yml.read()
    wanted = {f"{route.method} {route.path}": route.function for route in events.routes}
    assert events.catch_all == "not_found"
    wanted["$default"] = events.catch_all
    assert reached == {key: logical_id(template, function) for key, function in wanted.items()}


def test_tick_has_no_route(template: Template) -> None:
    """No integration and no permission lets the HTTP API call tick."""
    tick = logical_id(template, "tick")
    for integration in of_type(template, "AWS::ApiGatewayV2::Integration").values():
        assert tick not in json.dumps(integration)
    allowed = [each for each in of_type(template, "AWS::Lambda::Permission").values() if tick in json.dumps(each)]
    assert [each["Principal"] for each in allowed] == ["events.amazonaws.com"]


def test_the_api_is_throttled(template: Template) -> None:
    """The stage has a rate and a burst limit, and writes an access log."""
    [stage] = of_type(template, "AWS::ApiGatewayV2::Stage").values()
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == 100
    assert stage["DefaultRouteSettings"]["ThrottlingBurstLimit"] == 200
    assert stage["AccessLogSettings"]["DestinationArn"]


def test_nothing_retries_a_tick(template: Template) -> None:
    """Neither the rule nor Lambda's queue retries; after a minute an event is old and goes to the dead letters."""
    [rule] = of_type(template, "AWS::Events::Rule").values()
    [target] = rule["Targets"]
    queue = {"Fn::GetAtt": ["TickDeadLetters", "Arn"]}
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    assert target["Arn"] == {"Fn::GetAtt": [logical_id(template, "tick"), "Arn"]}
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
    assert target["DeadLetterConfig"] == {"Arn": queue}
    [invoke] = of_type(template, "AWS::Lambda::EventInvokeConfig").values()
    assert (invoke["MaximumRetryAttempts"], invoke["MaximumEventAgeInSeconds"]) == (0, 60)
    assert invoke["DestinationConfig"] == {"OnFailure": {"Destination": queue}}


def test_only_the_rule_adds_dead_letters(template: Template) -> None:
    """The queue is encrypted and lets in nobody but the rule; tick's own role lets tick in."""
    [queue] = of_type(template, "AWS::SQS::Queue").values()
    assert queue["SqsManagedSseEnabled"] is True
    [policy] = of_type(template, "AWS::SQS::QueuePolicy").values()
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    [rule] = of_type(template, "AWS::Events::Rule")
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rule, "Arn"]}}}


def test_only_tick_does_more_than_log(template: Template) -> None:
    """API functions may write logs, what creates jobs may call tick; tick mails, reaches prefixes and its queue."""
    used = {name: each["Role"]["Fn::GetAtt"][0] for name, each in functions(template).items()}
    assert used.pop("tick") == "TickRole"
    assert {used.pop(name) for name in ("create_job", "create_jobs", "run_schedule")} == {"CreateRole"}
    assert set(used.values()) == {"ApiRole"}
    actions = {
        name: {statement["Sid"]: statement for statement in role["Policies"][0]["PolicyDocument"]["Statement"]}
        for name, role in of_type(template, "AWS::IAM::Role").items()
    }
    logs = ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert {sid: each["Action"] for sid, each in actions["ApiRole"].items()} == {"Logs": logs}
    assert {sid: each["Action"] for sid, each in actions["CreateRole"].items()} == {
        "Logs": logs,
        "Wake": "lambda:InvokeFunction",
    }
    assert {sid: each["Action"] for sid, each in actions["TickRole"].items()} == {
        "Logs": logs,
        "Mail": ["ses:SendEmail", "ses:SendRawEmail"],
        "Objects": ["s3:GetObject", "s3:PutObject"],
        "Drainers": "lambda:InvokeFunction",
        "DeadLetters": "sqs:SendMessage",
    }
    for calling in (actions["TickRole"]["Drainers"], actions["CreateRole"]["Wake"]):
        assert calling["Resource"]["Fn::Sub"].endswith(":function:sweephand-dev-tick")
    assert actions["TickRole"]["Objects"]["Resource"] == [
        "arn:aws:s3:::pictures/in/*",
        "arn:aws:s3:::pictures/out/*",
    ]
    assert '"*"' not in json.dumps([role["Policies"] for role in of_type(template, "AWS::IAM::Role").values()])


def test_secrets_are_references(template: Template, service: Service) -> None:
    """No secret's value is in the template: each is a reference that CloudFormation resolves into the function."""
    secret = {"SUPABASE_KEY", "REDIS_URL", "SWEEPHAND_API_KEYS", "MAIL_URL", "WEBHOOK_SIGNING_KEYS"}
    for name, each in functions(template).items():
        variables = each.get("Environment", {}).get("Variables", {})
        for variable in secret & set(variables):
            found = REFERENCE.fullmatch(variables[variable])
            assert found, (name, variable)
            assert found[1] == variable


@pytest.fixture(scope="module")
def otherwise(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Return the service as it is packaged with other parameters than the usual ones."""
    folder = tmp_path_factory.mktemp("otherwise") / "service"
    shutil.copytree(service.folder, folder)
    made = Service(folder)
    made.osls("package", parameters={**PARAMETERS, "tickStore": "direct", "wake": "false"})
    return made


def test_nobody_wakes_tick_where_that_is_off(template: Template, otherwise: Service) -> None:
    """What creates jobs knows how to call tick, and may, unless `wake=false`."""
    for name in ("create_job", "create_jobs", "run_schedule"):
        variables = [functions(each)[name]["Environment"]["Variables"] for each in (template, otherwise.template())]
        assert [each["WAKE_URL"] for each in variables] == ["lambda:sweephand-dev-tick", ""]
        assert {each["LINGER_SECONDS"] for each in variables} == {"70"}
        tick = functions(template)["tick"]["Environment"]["Variables"]
        assert {each["TICK_BUDGET_SECONDS"] for each in variables} == {tick["TICK_BUDGET_SECONDS"]}
        roles = [functions(each)[name]["Role"]["Fn::GetAtt"][0] for each in (template, otherwise.template())]
        assert roles == ["CreateRole", "ApiRole"]


def test_tick_may_reach_postgresql_itself(service: Service, otherwise: Service) -> None:
    """With `tickStore=direct` tick gets a reference to DATABASE_URL; no other function does, and else none does."""
    direct = otherwise
    variables = {
        name: each.get("Environment", {}).get("Variables", {})
        for name, each in functions(direct.template()).items()
    }
    assert variables["tick"]["STORE"] == "direct"
    found = REFERENCE.fullmatch(variables["tick"]["DATABASE_URL"])
    assert found
    assert found[1] == "DATABASE_URL"
    assert {name for name, each in variables.items() if "DATABASE_URL" in each} == {"tick"}
    usual = functions(service.template())["tick"]["Environment"]["Variables"]
    assert (usual["STORE"], usual["DATABASE_URL"]) == ("rest", "")


def test_each_function_gets_the_settings_it_uses(template: Template) -> None:
    """Redis is known to what uses the index, mail and storage to tick alone, and not_found knows nothing."""
    given = {
        name: set(each.get("Environment", {}).get("Variables", {})) for name, each in functions(template).items()
    }
    assert {name for name, variables in given.items() if "REDIS_URL" in variables} == INDEXING & set(NAMES)
    for known_to_tick in ("MAIL_URL", "WEBHOOK_SIGNING_KEYS", "HTTP_CA_FILE"):
        assert {name for name, variables in given.items() if known_to_tick in variables} == {"tick"}
    assert {name for name, each in given.items() if "HTTP_ALLOW" in each} == JUDGING
    assert "SWEEPHAND_API_KEYS" not in given["tick"]
    assert given["not_found"] == {"CORS_ORIGINS"}
    assert {name for name, variables in given.items() if "CORS_ORIGINS" not in variables} == {"tick"}
    known = (ROOT / "shared/sweephand/settings.py").read_text()
    assert all(f'"{variable}"' in known for variables in given.values() for variable in variables), (
        settings_module.__name__
    )


def test_alarms_ring_for_what_matters(template: Template) -> None:
    """Five alarms go to one topic: no tick in 5 minutes, errors, old due jobs, failed jobs, dead letters."""
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    assert {each["MetricName"] for each in alarms.values()} == {
        "Invocations",
        "Errors",
        "oldest_due_age_s",
        "failed",
        "ApproximateNumberOfMessagesVisible",
    }
    assert all(each["AlarmActions"] == [{"Ref": "Alarms"}] for each in alarms.values())
    missing = alarms["TickMissing"]
    assert missing["Period"] * missing["EvaluationPeriods"] == 300
    assert missing["TreatMissingData"] == "breaching"
    assert len(of_type(template, "AWS::SNS::Topic")) == 1


def test_alarms_and_dashboard_use_metrics_that_exist(template: Template) -> None:
    """Every metric of the namespace Sweephand that is watched is one that the tick's report carries."""
    from infra.aws.metrics import NAMESPACE  # noqa: PLC0415 - beside what it is compared with
    from sweephand.usecases.tick.report import METRICS  # noqa: PLC0415 - likewise

    alarms = of_type(template, "AWS::CloudWatch::Alarm").values()
    watched = {each["MetricName"] for each in alarms if each["Namespace"] == NAMESPACE}
    [dashboard] = of_type(template, "AWS::CloudWatch::Dashboard").values()
    for widget in json.loads(dashboard["DashboardBody"]["Fn::Sub"])["widgets"]:
        metrics = widget["properties"]["metrics"]
        watched |= {metric[1] for metric in metrics if metric[0] == NAMESPACE}
    assert watched <= set(METRICS)
    assert {"oldest_due_age_s", "failed", "started", "lateness_p99_ms"} <= watched


@pytest.mark.parametrize("name", ["create_job", "tick"])
def test_functions_fit_their_time(template: Template, name: str) -> None:
    """An API function ends before the gateway's 30 s do; a tick's budget is less than its time limit."""
    function = functions(template)[name]
    assert function["Runtime"] == "python3.13"
    if name == "tick":
        assert int(function["Environment"]["Variables"]["TICK_BUDGET_SECONDS"]) < function["Timeout"]
    else:
        assert function["Timeout"] < 30


def test_everything_is_tagged_and_named_by_stage(template: Template) -> None:
    """Functions carry the service and the stage as tags, and every name has the stage in it."""
    for function in functions(template).values():
        assert {tag["Key"]: tag["Value"] for tag in function["Tags"]} == {"service": "sweephand", "stage": "dev"}
    for resource in template["Resources"].values():
        for key in ("FunctionName", "QueueName", "TopicName", "AlarmName", "DashboardName", "LogGroupName"):
            name = resource["Properties"].get(key, "sweephand-dev")
            assert not isinstance(name, str) or "sweephand-dev" in name
