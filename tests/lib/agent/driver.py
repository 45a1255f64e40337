# ruff: noqa
"""The scheduler driver of a real Mesos, as a long-lived process (Python 2.7: the driver's language).

Started with the master's name `local`, it holds master, agent and one framework in one process. The flags of
master and agent come from MESOS_<FLAG> variables. It reads JSON lines and writes JSON lines:

in:   {"launch": [TaskInfo, ...]}     protobuf JSON; slave_id is filled in; all of them are launched in one call
      end of file                     stops the framework with its executors, then the process
out:  {"event": "registered", "framework_id": ...}
      {"event": "offered", "slave_id": ...}
      {"event": "status", "task_id": ..., "state": "TASK_...", "reason": ..., "source": ..., "message": ...}
      {"event": "executor_lost", "executor_id": ..., "status": raw wait status}
      {"event": "message", "executor_id": ..., "data": ...}
      {"event": "slave_lost" | "disconnected" | "error" | "bad_input", ...}

The containers of a local agent inherit its standard streams. So they get /dev/null and standard error; the
descriptors of this conversation are moved out of their reach.
"""

import fcntl
import json
import os
import threading

import mesos.interface
import mesos.scheduler
from google.protobuf import json_format
from mesos.interface import mesos_pb2


def moved_away(number, replacement, mode):
    """A stream on a new, close-on-exec descriptor for what `number` was; `number` becomes `replacement`."""
    kept = os.dup(number)
    fcntl.fcntl(kept, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    os.dup2(replacement, number)
    return os.fdopen(kept, mode)


COMMANDS = moved_away(0, os.open(os.devnull, os.O_RDONLY), "r")
EVENTS = moved_away(1, 2, "w")


def covers(offers, tasks):
    """Whether the offers together hold the cpus and mem of the tasks and their executors."""

    def total(resources, name):
        return sum(r["scalar"]["value"] for r in resources if r["name"] == name)

    asked = [r for task in tasks for r in task["resources"] + task.get("executor", {}).get("resources", [])]
    held = [{"name": r.name, "scalar": {"value": r.scalar.value}} for offer in offers for r in offer.resources]
    return all(total(held, name) >= total(asked, name) for name in ("cpus", "mem"))


class Scheduler(mesos.interface.Scheduler):
    def __init__(self):
        self.lock = threading.RLock()
        self.waiting = []  # batches of TaskInfo as given, each to go into one offer
        self.offers = []

    def tell(self, event, **what):
        with self.lock:
            EVENTS.write(json.dumps(dict(what, event=event)) + "\n")
            EVENTS.flush()

    def launch(self, driver):
        """Launches what waits, once the offers held cover it (all are from the one agent, so they add up)."""
        with self.lock:
            while self.waiting and self.offers:
                if not covers(self.offers, self.waiting[0]):
                    return
                offers, self.offers = self.offers, []
                tasks = []
                for given in self.waiting.pop(0):
                    task = json_format.ParseDict(given, mesos_pb2.TaskInfo(slave_id=offers[0].slave_id))
                    if task.HasField("executor"):
                        task.executor.framework_id.CopyFrom(offers[0].framework_id)
                    tasks.append(task)
                # What is left is offered again at once.
                driver.launchTasks([offer.id for offer in offers], tasks, mesos_pb2.Filters(refuse_seconds=0))

    def registered(self, driver, framework_id, master_info):
        self.tell("registered", framework_id=framework_id.value)

    def resourceOffers(self, driver, offers):
        with self.lock:
            self.offers.extend(offers)
        for offer in offers:
            self.tell("offered", slave_id=offer.slave_id.value)
        self.launch(driver)

    def offerRescinded(self, driver, offer_id):
        with self.lock:
            self.offers = [offer for offer in self.offers if offer.id.value != offer_id.value]

    def statusUpdate(self, driver, status):
        self.tell(
            "status",
            task_id=status.task_id.value,
            state=mesos_pb2.TaskState.Name(status.state),
            reason=mesos_pb2.TaskStatus.Reason.Name(status.reason) if status.HasField("reason") else None,
            source=mesos_pb2.TaskStatus.Source.Name(status.source) if status.HasField("source") else None,
            message=status.message,
        )

    def frameworkMessage(self, driver, executor_id, slave_id, message):
        self.tell("message", executor_id=executor_id.value, data=message)

    def executorLost(self, driver, executor_id, slave_id, status):
        self.tell("executor_lost", executor_id=executor_id.value, status=status)

    def slaveLost(self, driver, slave_id):
        self.tell("slave_lost", slave_id=slave_id.value)

    def disconnected(self, driver):
        self.tell("disconnected")

    def error(self, driver, message):
        self.tell("error", message=message)


def commands(scheduler, driver):
    for line in iter(COMMANDS.readline, ""):
        try:
            command = json.loads(line)
            for task in command["launch"]:
                json_format.ParseDict(task, mesos_pb2.TaskInfo())  # refuses an unknown field before it waits
            with scheduler.lock:
                scheduler.waiting.append(command["launch"])
            scheduler.launch(driver)
        except Exception as error:  # said to the test, which fails by it
            scheduler.tell("bad_input", message="%s: %s" % (type(error).__name__, error))
    driver.stop()


def main():
    framework = mesos_pb2.FrameworkInfo(user="root", name="mesos-shim tests", checkpoint=True)
    scheduler = Scheduler()
    driver = mesos.scheduler.MesosSchedulerDriver(scheduler, framework, "local", True)
    driver.start()
    reader = threading.Thread(target=commands, args=(scheduler, driver))
    reader.daemon = True
    reader.start()
    driver.join()
    os._exit(0)  # threads of libmesos would outlive the interpreter otherwise


if __name__ == "__main__":
    main()
