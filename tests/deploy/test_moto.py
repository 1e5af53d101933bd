"""The packaged template, created and deployed in a moto server: what AWS would make of it."""

import ast
import json
from typing import Any

import boto3
import pytest

import functions
from tests.deploy.conftest import Service

REGION = "eu-west-1"
# Types that it knows not, which tests/deploy/test_template.py looks at; and its server runs in this process.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": REGION}


@pytest.fixture(scope="module")
def deployed(service: Service, endpoint: str) -> str:
    """Return what `osls deploy` said the first time."""
    return service.osls("deploy", AWS_ENDPOINT_URL=endpoint)


def client(name: str, endpoint: str) -> Any:
    """Return a client of the moto server."""
    return boto3.client(name, endpoint_url=endpoint, **CREDENTIALS)  # type: ignore[call-overload]


def test_osls_deploys(deployed: str) -> None:
    """`osls deploy` succeeds and names the functions."""
    assert "Service deployed" in deployed
    assert "sweephand-dev-create_job" in deployed


def test_a_second_deploy_changes_nothing(deployed: str, service: Service, endpoint: str) -> None:
    """The same artifacts and template again are recognised, and nothing is deployed."""
    before = client("cloudformation", endpoint).describe_stacks()["Stacks"][0]
    said = service.osls("deploy", AWS_ENDPOINT_URL=endpoint)
    assert "No changes to deploy" in said
    assert client("cloudformation", endpoint).describe_stacks()["Stacks"][0] == before


def test_the_rule_wakes_tick(deployed: str, endpoint: str) -> None:
    """The rule is enabled, fires every minute, and aims at tick, which it alone may call."""
    events = client("events", endpoint)
    [rule] = events.list_rules()["Rules"]
    assert (rule["State"], rule["ScheduleExpression"]) == ("ENABLED", "rate(1 minute)")
    [target] = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    functions = client("lambda", endpoint)
    tick = functions.get_function_configuration(FunctionName="sweephand-dev-tick")
    assert target["Arn"] == tick["FunctionArn"]
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
    assert target["DeadLetterConfig"]["Arn"].endswith(":sweephand-dev-tick-dead-letters")
    policy = json.loads(functions.get_policy(FunctionName="sweephand-dev-tick")["Policy"])
    [statement] = policy["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"]["ArnLike"]["AWS:SourceArn"] == rule["Arn"]


def test_functions_are_as_configured(deployed: str, endpoint: str, service: Service) -> None:
    """Each function has the right runtime, architecture, entry point and code."""
    made = {each["FunctionName"]: each for each in client("lambda", endpoint).list_functions()["Functions"]}
    assert set(made) == {f"sweephand-dev-{name}" for name in functions.NAMES}
    for name, each in made.items():
        assert (each["Runtime"], each["Architectures"]) == ("python3.13", ["x86_64"])
        artifact = "tick" if name.endswith("-tick") else "api"
        assert each["CodeSize"] == (service.folder / f"dist/aws/{artifact}.zip").stat().st_size
    assert made["sweephand-dev-tick"]["Handler"] == "sweephand.infra.aws.tick.handler"
    assert made["sweephand-dev-tick"]["Timeout"] == 300


def test_logs_are_not_kept_for_ever(deployed: str, endpoint: str) -> None:
    """Every log group has a retention."""
    groups = client("logs", endpoint).describe_log_groups()["logGroups"]
    assert len(groups) == len(functions.NAMES) + 1  # and the HTTP API
    assert {group["retentionInDays"] for group in groups} == {30}


def test_the_queue_and_the_topic_exist(deployed: str, endpoint: str) -> None:
    """Dead letters are kept for 14 days; alarms have their topic."""
    queues = client("sqs", endpoint)
    [url] = queues.list_queues()["QueueUrls"]
    attributes = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["MessageRetentionPeriod"] == "1209600"
    [topic] = client("sns", endpoint).list_topics()["Topics"]
    assert topic["TopicArn"].endswith(":sweephand-dev-alarms")


def test_roles_in_force(deployed: str, endpoint: str) -> None:
    """The two roles exist with resources spelled out: tick's names its queue, its prefixes and its log group."""
    iam = client("iam", endpoint)
    documents = {}
    for role in iam.list_roles()["Roles"]:
        [policy] = iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
        document = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=policy)["PolicyDocument"]
        if isinstance(document, str):  # moto writes it as Python does, not as JSON
            document = ast.literal_eval(document)
        documents[policy] = {each["Sid"]: each["Resource"] for each in document["Statement"]}
    assert set(documents) == {"logs", "create", "tick"}
    assert documents["tick"]["DeadLetters"].endswith(":sweephand-dev-tick-dead-letters")
    assert documents["tick"]["Objects"] == ["arn:aws:s3:::pictures/in/*", "arn:aws:s3:::pictures/out/*"]
    assert ":log-group:/aws/lambda/sweephand-dev-tick:*" in documents["tick"]["Logs"]
    assert documents["create"]["Wake"].endswith(":function:sweephand-dev-tick")
    assert documents["tick"]["Mail"].endswith(":identity/*")
