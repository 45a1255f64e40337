# ruff: noqa
"""The driver of tests/lib/agent as a service (Python 2.7): tasks come from a directory, events go to a file.

/var/lib/mesos-tasks/new/NAME.json   {"launch": [TaskInfo, ...]} or {"kill": TASK_ID}; removed once it is taken
/var/lib/mesos-tasks/events          what driver.py writes, one JSON object a line, over all restarts

The framework keeps its id over restarts of this process, so that a new master takes the executors that the agent
recovers for its own. The process ends by a signal as a real agent does: without a word to its executors.
"""

import json
import os
import threading
import time

import driver  # moves standard input and output out of the containers' reach
import mesos.scheduler
from google.protobuf import json_format
from mesos.interface import mesos_pb2

SPOOL = "/var/lib/mesos-tasks"
ID = os.path.join(SPOOL, "framework_id")


class Scheduler(driver.Scheduler):
    def registered(self, the_driver, framework_id, master_info):
        with open(ID + ".part", "w") as stream:
            stream.write(framework_id.value)
        os.rename(ID + ".part", ID)
        driver.Scheduler.registered(self, the_driver, framework_id, master_info)


def take(scheduler, the_driver, path):
    try:
        with open(path) as stream:
            command = json.load(stream)
        for task in command.get("launch", []):
            json_format.ParseDict(task, mesos_pb2.TaskInfo())
        with scheduler.lock:
            if "launch" in command:
                scheduler.waiting.append(command["launch"])
        scheduler.launch(the_driver)
        if "kill" in command:
            the_driver.killTask(mesos_pb2.TaskID(value=command["kill"]))
    except Exception as error:  # said to the test, which fails by it
        scheduler.tell("bad_input", message="%s: %s: %s" % (path, type(error).__name__, error))
    os.unlink(path)


def main():
    new = os.path.join(SPOOL, "new")
    if not os.path.isdir(new):
        os.makedirs(new)
    driver.EVENTS = open(os.path.join(SPOOL, "events"), "a")
    framework = mesos_pb2.FrameworkInfo(user="root", name="tests", checkpoint=True, failover_timeout=86400.0)
    if os.path.exists(ID):
        with open(ID) as stream:
            framework.id.value = stream.read()
    scheduler = Scheduler()
    the_driver = mesos.scheduler.MesosSchedulerDriver(scheduler, framework, "local", True)
    the_driver.start()
    ended = threading.Event()

    def join():
        the_driver.join()
        ended.set()

    thread = threading.Thread(target=join)
    thread.daemon = True
    thread.start()
    while not ended.is_set():
        for name in sorted(os.listdir(new)):
            if name.endswith(".json") and not name.startswith("."):
                take(scheduler, the_driver, os.path.join(new, name))
        time.sleep(0.05)
    os._exit(1)  # the master in here has refused the framework: said in the events


main()
