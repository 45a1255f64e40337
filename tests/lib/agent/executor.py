#!/usr/bin/python3 -IB
"""A small executor on Mesos's v1 executor API: standard library only, Python 3.6 or newer.

It runs each task's `data` as a shell script in its own working directory and reports how that ended. It stands
in for `mesos-executor` too (no package carries that): then a task's `command` is launched as that does it, by the
launch helper in the agent's launcher directory. It ends after the agent has acknowledged the last task's last update.
"""

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from typing import Any, Dict, Iterator, List, Mapping, Set


class Executor:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self.ids = {
            "framework_id": {"value": environment["MESOS_FRAMEWORK_ID"]},
            "executor_id": {"value": environment["MESOS_EXECUTOR_ID"]},
        }
        self.address = environment["MESOS_AGENT_ENDPOINT"]
        # "slave(1)@127.0.0.1:5051" names the process that serves the API
        self.path = "/" + environment["MESOS_SLAVE_PID"].partition("@")[0] + "/api/v1/executor"
        self.lock = threading.Lock()
        self.running: Dict[str, subprocess.Popen[bytes]] = {}
        self.unacknowledged: Set[str] = set()

    def call(self, kind: str, **body: Any) -> http.client.HTTPResponse:
        """Sends one call and returns the response, unread."""
        connection = http.client.HTTPConnection(self.address)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        connection.request("POST", self.path, json.dumps(dict(self.ids, type=kind, **body)), headers)
        response = connection.getresponse()
        if response.status not in (200, 202):
            raise SystemExit(f"{kind}: {response.status} {response.read()!r}")
        return response

    def update(self, task_id: Dict[str, Any], state: str, message: str = "") -> None:
        """Reports a state; with the last one the task stops counting as running, in the same moment."""
        name = base64.b64encode(uuid.uuid4().bytes).decode()
        status = {
            "task_id": task_id,
            "executor_id": self.ids["executor_id"],
            "state": state,
            "source": "SOURCE_EXECUTOR",
            "message": message,
            "uuid": name,
        }
        with self.lock:
            self.unacknowledged.add(name)
            if state != "TASK_RUNNING":
                del self.running[task_id["value"]]
        self.call("UPDATE", update={"status": status}).read()

    def words(self, task: Dict[str, Any]) -> List[str]:
        """The words of a task; those of a command task are mesos-executor's (executor.cpp, launchTaskSubprocess)."""
        if "command" not in task:
            return ["/bin/sh", "-c", base64.b64decode(task.get("data", "")).decode()]
        variables = dict(os.environ)
        for variable in task["command"].get("environment", {}).get("variables", []):
            variables[variable["name"]] = variable.get("value", "")
        launch_info = {
            "command": {name: value for name, value in task["command"].items() if name != "user"},
            "environment": {
                "variables": [{"name": name, "type": "VALUE", "value": value} for name, value in variables.items()]
            },
        }
        (directory,) = [word.partition("=")[2] for word in sys.argv if word.startswith("--launcher_dir=")]
        flags = ["--help=false", f"--launch_info={json.dumps(launch_info)}", "--unshare_namespace_mnt=false"]
        return [f"{directory}/mesos-containerizer", "launch", *flags]

    def run(self, task: Dict[str, Any]) -> None:
        child = subprocess.Popen(self.words(task), stdin=subprocess.DEVNULL, start_new_session=True)
        with self.lock:
            self.running[task["task_id"]["value"]] = child
        self.update(task["task_id"], "TASK_RUNNING")
        code = child.wait()
        message = f"signal {-code}" if code < 0 else f"exit {code}"
        self.update(task["task_id"], "TASK_FINISHED" if code == 0 else "TASK_FAILED", message)

    def events(self, stream: http.client.HTTPResponse) -> Iterator[Dict[str, Any]]:
        """Yields each event of a RecordIO stream: its length in decimal, a line feed, its JSON."""
        while True:
            length = stream.readline()
            if not length:
                return
            yield json.loads(stream.read(int(length)).decode())

    def main(self) -> None:
        started = False
        for event in self.events(self.call("SUBSCRIBE", subscribe={})):
            if event["type"] == "LAUNCH":
                started = True
                threading.Thread(target=self.run, args=(event["launch"]["task"],), daemon=True).start()
            elif event["type"] == "KILL":
                child = self.running.get(event["kill"]["task_id"]["value"])
                if child:
                    child.send_signal(signal.SIGTERM)
            elif event["type"] == "ACKNOWLEDGED":
                with self.lock:
                    self.unacknowledged.discard(event["acknowledged"]["uuid"])
                    if started and not self.unacknowledged and not self.running:
                        return
            elif event["type"] in ("SHUTDOWN", "ERROR"):
                for child in list(self.running.values()):
                    child.kill()
                return


if __name__ == "__main__":
    Executor(os.environ).main()
    sys.stdout.flush()
    os._exit(0)
