"""A whole life of a queue with the vendor's own Python SDK, against `performer serve`.

scripts/python-sdk starts the server and calls this with its address, an id, a secret, and the key of a robot.
"""

import json
import os
import re
import sys
import tempfile
import time

# What the SDK would otherwise take from its surroundings.
for name in [name for name in os.environ if name.startswith("UIPATH_")]:
    del os.environ[name]

from uipath.platform import UiPath
from uipath.platform.errors import EnrichedException
from uipath.platform.identity import IdentityService
from uipath.platform.orchestrator import CommitType

host, client_id, secret, robot_key = sys.argv[1:5]

# The robot that reads assets.
os.environ["UIPATH_ROBOT_KEY"] = robot_key
queue = "Invoices"


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r} and not {expected!r}")
    print(f"  {what}")


def quietly(call, *arguments, **named):
    """The SDK reads a body also where the Orchestrator answers none."""
    try:
        return call(*arguments, **named)
    except json.JSONDecodeError:
        return None


def refused(what, status, code, call, *arguments, **named):
    try:
        quietly(call, *arguments, **named)
    except EnrichedException as error:
        # The SDK keeps only the beginning of a long body.
        found = re.search(r'"errorCode":(\d+)', error.response_content or "")
        check(what, (error.status_code, int(found[1]) if found else None), (status, code))
        return
    sys.exit(f"{what}: it was not refused")


def sdk_of(scope):
    token = IdentityService(host).get_client_credentials_token(client_id, secret, scope)
    return UiPath(base_url=f"{host}/acme/Prod", secret=token.access_token)


sdk = sdk_of("OR.Queues OR.Jobs OR.Monitoring OR.Folders.Read")
queues = sdk.queues
folder = {"folder_key": sdk.folders.retrieve_key(folder_path="Shared")}
check("the folder has a key", len(folder["folder_key"]), 36)


def odata(method, path, **named):
    headers = {"x-uipath-folderkey": folder["folder_key"]}
    return sdk.api_client.request(method, f"/orchestrator_/odata/{path}", headers=headers, **named)


made = odata(
    "POST",
    "QueueDefinitions",
    json={"Name": queue, "MaxNumberOfRetries": 1, "AcceptAutomaticallyRetry": True, "EnforceUniqueReference": True},
).json()
check("a queue is made", (made["Name"], made["MaxNumberOfRetries"]), (queue, 1))

quietly(
    queues.create_item,
    {"Reference": "A-1", "Priority": "High", "SpecificContent": {"amount": 10.5, "who": "ACME", "paid": False}},
    queue_name=queue,
    **folder,
)
refused("one reference is taken once", 409, 1016, queues.create_item, {"Reference": "A-1"}, queue_name=queue, **folder)
quietly(
    queues.create_items,
    [{"Reference": f"B-{n}", "SpecificContent": {"n": n}} for n in range(2)],
    queue,
    CommitType.ALL_OR_NOTHING,
    **folder,
)
items = queues.list_items(queue, **folder)["value"]
check("three items wait", sorted(item["Reference"] for item in items), ["A-1", "B-0", "B-1"])


def take():
    return quietly(queues.create_transaction_item, {}, queue_name=queue, no_robot=True, **folder)


first = take()
check("the most urgent is handed out first", first["Reference"], "A-1")
check("with its content", first["SpecificContent"], {"amount": 10.5, "who": "ACME", "paid": False})
quietly(queues.update_progress_of_transaction_item, str(first["Id"]), "half of it", queue_name=queue, **folder)
done = {"IsSuccessful": True, "Output": {"booked": True}}
quietly(queues.complete_transaction_item, str(first["Id"]), done, queue_name=queue, **folder)
refused(
    "a result is given once", 409, 1866, queues.complete_transaction_item, str(first["Id"]), done, queue_name=queue, **folder
)
ended = odata("GET", f"QueueItems({first['Id']})").json()
check(
    "it is Successful, with output and progress",
    (ended["Status"], ended["Output"], ended["Progress"]),
    ("Successful", {"booked": True}, "half of it"),
)

second = take()
exception = {"Reason": "no such customer", "Details": "C-17", "Type": "BusinessException"}
quietly(
    queues.complete_transaction_item,
    str(second["Id"]),
    {"IsSuccessful": False, "ProcessingException": exception},
    queue_name=queue,
    **folder,
)
third = take()
exception = {"Reason": "time-out", "Details": "", "Type": "ApplicationException"}
quietly(
    queues.complete_transaction_item,
    str(third["Id"]),
    {"IsSuccessful": False, "ProcessingException": exception},
    queue_name=queue,
    **folder,
)
again = take()
check("what failed technically is tried again", (again["Reference"], again["RetryNumber"]), (third["Reference"], 1))
quietly(queues.complete_transaction_item, str(again["Id"]), {"IsSuccessful": True}, queue_name=queue, **folder)
check("nothing is left", take(), None)

failed = odata(
    "GET",
    "QueueItems",
    params={"$filter": "Status eq 'Failed'", "$orderby": "Id desc", "$top": 10, "$count": "true"},
).json()
check(
    "the business exception is found",
    (failed["@odata.count"], failed["value"][0]["ProcessingException"]["Reason"]),
    (1, "no such customer"),
)
refused("what there is not is not found", 404, 1002, queues.create_item, {"Reference": "x"}, queue_name="Nothing", **folder)



def api(path, body):
    headers = {"x-uipath-folderkey": folder["folder_key"]}
    return sdk.api_client.request("POST", f"/orchestrator_/api/{path}", headers=headers, json=body)


def start_job():
    job = {"queue": queue, "machine": "m1", "processId": 1, "version": "1", "robots": 1, "lease": 600_000}
    return api("Performer/StartJob", job).json()["job"]


jobs = [start_job(), start_job()]
found = sdk.jobs.retrieve(jobs[0], **folder)
check("a performer is a job", (found.key, found.state, found.host_machine_name), (jobs[0], "Running", "m1"))
check("a job that is not there is not found", sdk.jobs.exists("b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11", **folder), False)
listed = sdk.jobs.list(filter="State eq 'Running'", orderby="CreationTime desc", top=10, **folder)
check("jobs are listed", {job.key for job in listed.items}, set(jobs))
sdk.jobs.stop(job_keys=jobs, **folder)
check("jobs are asked to stop", [sdk.jobs.retrieve(job, **folder).state for job in jobs], ["Stopping"] * 2)
sdk.jobs.stop(job_keys=[jobs[0]], strategy="Kill", **folder)
check("and to end at once", api("Performer/Beat", {"job": jobs[0]}).json()["state"], "Terminating")
api("Performer/EndJob", {"job": jobs[0], "state": "Faulted", "info": "the disk is full"})
faulted = sdk.jobs.retrieve(jobs[0], **folder)
check("why it faulted is known", (faulted.state, faulted.job_error.detail), ("Faulted", "the disk is full"))
refused("an ended job is not stopped", 409, 1658, sdk.jobs.stop, job_keys=[jobs[0]], **folder)

line = {"message": "started", "level": "Information", "timeStamp": "2026-01-01T00:00:00Z", "jobId": jobs[1]}
api("Logs/SubmitLogs", [json.dumps(line), json.dumps({**line, "message": "broke", "level": "Error"})])
lines = odata("GET", "RobotLogs", params={"$filter": f"JobKey eq {jobs[1]} and Level eq 'Error'"}).json()["value"]
check("what a robot logs is listed", [(one["Message"], one["JobKey"]) for one in lines], [("broke", jobs[1])])
sdk = sdk_of("OR.Assets OR.Folders.Read")
assets = sdk.assets
for body in [
    {"Name": "Threshold", "ValueScope": "Global", "ValueType": "Integer", "IntValue": 5},
    {"Name": "Enabled", "ValueScope": "PerRobot", "ValueType": "Bool", "BoolValue": True, "HasDefaultValue": True},
    {"Name": "SAP", "ValueScope": "Global", "ValueType": "Credential", "CredentialUsername": "ann", "CredentialPassword": "x"},
    {"Name": "Token", "ValueScope": "Global", "ValueType": "Secret", "SecretValue": "y"},
]:
    odata("POST", "Assets", json=body)
threshold = assets.retrieve("Threshold", **folder)
check("an asset is read", (threshold.name, threshold.value_type, threshold.int_value), ("Threshold", "Integer", 5))
check("a password is read by a robot", assets.retrieve_credential("SAP", **folder), "x")
check("a secret is read by a robot", assets.retrieve_secret("Token", **folder), "y")
threshold.int_value = 6
quietly(assets.update, threshold, **folder)
check("an asset is set", assets.retrieve("Threshold", **folder).int_value, 6)
enabled = assets.retrieve("Enabled", **folder)
enabled.bool_value = False
quietly(assets.update, enabled, **folder)
check("a robot sets its own value", assets.retrieve("Enabled", **folder).bool_value, False)
listed = assets.list(filter="ValueType eq 'Credential'", **folder).items
check("a list shows no password", [(asset.name, asset.credential_password or "") for asset in listed], [("SAP", "")])
refused("an asset that is not there is not found", 404, 1504, assets.retrieve, "Nothing", **folder)

sdk = sdk_of("OR.Administration OR.Folders.Read")
buckets = sdk.buckets
made = buckets.create("Files", description="scans", **folder)
check("a bucket is created", (made.name, len(made.identifier)), ("Files", 36))
check("a bucket is found by its key", buckets.retrieve(key=made.identifier, **folder).name, "Files")
files = {"name": "Files", **folder}
buckets.upload(content="hello", blob_file_path="reports/2026/a b.txt", content_type="text/plain", **files)
with tempfile.TemporaryDirectory() as place:
    source, target = f"{place}/scan.pdf", f"{place}/back.pdf"
    content = bytes(range(256)) * 4000
    with open(source, "wb") as file:
        file.write(content)
    buckets.upload(source_path=source, blob_file_path="scan.pdf", **files)
    buckets.download(blob_file_path="scan.pdf", destination_path=target, **files)
    with open(target, "rb") as file:
        check("a file comes back as it was", file.read() == content, True)
check("a file exists", buckets.exists_file(blob_file_path="reports/2026/a b.txt", **files), True)
check("another does not", buckets.exists_file(blob_file_path="reports/2026", **files), False)
page = buckets.list_files(take_hint=1, **files)
check("files are listed page by page", ([file.path for file in page.items], page.has_more), (["/reports/2026/a b.txt"], True))
page = buckets.list_files(continuation_token=page.continuation_token, **files)
found = [(file.path, file.size, file.content_type) for file in page.items]
check("the last page has the rest", (found, page.has_more), ([("/scan.pdf", len(content), "application/pdf")], False))
found = [file.path for file in buckets.get_files(recursive=True, file_name_glob="*.txt", **files).items]
check("files are found by their names", found, ["/reports/2026/a b.txt"])
refused("a path that leads out is refused", 400, 1009, buckets.delete_file, blob_file_path="../x", **files)
quietly(buckets.delete_file, blob_file_path="scan.pdf", **files)
check("a deleted file is gone", buckets.exists_file(blob_file_path="scan.pdf", **files), False)
check("buckets are listed", [bucket.name for bucket in buckets.list(**folder).items], ["Files"])
quietly(buckets.delete, name="Files", **folder)
check("a deleted bucket is gone", buckets.exists("Files", **folder), False)
sdk = sdk_of("OR.Execution OR.Jobs OR.Folders.Read")


def ended_job(key):
    """The agent that scripts/python-sdk has started runs it."""
    for _ in range(600):
        job = sdk.jobs.retrieve(job_key=key, **folder)
        if job.state not in ("Pending", "Running"):
            return job
        time.sleep(0.1)
    sys.exit(f"job {key} does not end")


job = sdk.processes.invoke("Nightly", {"limit": 5}, **folder)
check("a job of a process waits", job.state, "Pending")
job = ended_job(job.key)
check("an agent runs it", (job.state, json.loads(job.input_arguments)), ("Successful", {"limit": 5}))
again = sdk.jobs.restart(job_key=job.key, **folder)
check("it is started again", ended_job(again.key).state, "Successful")
listed = sdk.jobs.list(filter="ReleaseName eq 'Nightly'", orderby="Id desc", **folder).items
check("jobs are listed", [job.key for job in listed], [again.key, job.key])
refused("a job that has ended is not stopped", 409, 1658, sdk.jobs.stop, job_keys=[job.key], **folder)
refused("a process that is not there is not started", 404, 1674, sdk.processes.invoke, "Nothing", **folder)

narrow = sdk_of("OR.Folders.Read")
try:
    quietly(narrow.queues.list_items, queue, **folder)
except EnrichedException as error:
    check("a token is good for its scopes alone", error.status_code, 403)
else:
    sys.exit("a token without the scope was let in")
