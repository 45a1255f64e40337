"""`make demo`: provisions this machine into .demo/ and shows two executors at once, each with a /tmp of its own.

Nothing is pretended: the quickstart play installs the shim, the installed program launches the executors, and what is
printed is what they, the host and `mesos-shim usage` say.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
DEMO = CHECKOUT / ".demo"

# What each executor does: says what it sees, leaves a file, works a little, and ends when its input does.
EXECUTOR = """
import json, os, sys
name = sys.argv[1]
before = sorted(os.listdir("/tmp"))
open(f"/tmp/mesos-shim-demo-{name}", "w").close()
memory = bytearray(int(sys.argv[2]) << 20)
sum(i * i for i in range(2_000_000))
print(json.dumps({"pid": os.getpid(), "before": before, "mode": oct(os.stat("/tmp").st_mode & 0o7777)[2:]}), flush=True)
sys.stdin.read(1)
print(json.dumps(sorted(os.listdir("/tmp"))), flush=True)
sys.stdin.read()
"""


def provision() -> None:
    """Run the quickstart play; its output is shown only where it fails."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "playbooks/quickstart.yml"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nmake demo: the quickstart play failed (above)")
    recap = next((line for line in done.stdout.splitlines() if "changed=" in line), "").split(":", 1)[-1]
    current = (DEMO / "current").resolve().name
    flags = sorted(path.name for path in (DEMO / "etc/mesos-slave").iterdir())
    print("Provisioned .demo/ by playbooks/quickstart.yml:", " ".join(recap.split()[:2]))
    print(f"  release   {current}")
    print(f"  flags     {', '.join(flags)}")
    config = json.loads((DEMO / "etc/mesos-shim/config.json").read_text())
    print(f"  default   {json.dumps(config['default_container_info'])}")


def start(name: str, megabytes: int) -> subprocess.Popen[str]:
    """Launch one executor through the installed shim, in a sandbox of its own."""
    sandbox = DEMO / "sandboxes" / name
    sandbox.mkdir(parents=True, exist_ok=True)
    # An interpreter that the sandbox's view still has: the demo's own may lie below /tmp.
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    command = [
        str(DEMO / "bin/mesos-shim"),
        *("run", "--sandbox", str(sandbox), "--container-id", f"demo-{name}-{os.getpid()}", "--"),
        *(python, "-ISc", EXECUTOR, name, str(megabytes)),
    ]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def hear(executor: subprocess.Popen[str]) -> object:
    """The next line of what an executor says."""
    assert executor.stdout is not None
    line = executor.stdout.readline()
    if not line:
        sys.exit(f"make demo: an executor ended with status {executor.wait()} before it could speak (see above)")
    return json.loads(line)


def main() -> None:
    """The whole demonstration; ends 0 only if each executor saw what it should."""
    provision()
    executors = {"A": start("A", 8), "B": start("B", 64)}
    first = {name: hear(executor) for name, executor in executors.items()}
    print("\nTwo executors at once, launched by .demo/bin/mesos-shim run:")
    usage = subprocess.run(
        [str(DEMO / "bin/mesos-shim"), "usage"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    for executor in executors.values():
        executor.stdin.write("\n")
        executor.stdin.flush()
    good = True
    for name, executor in executors.items():
        # A checkout below /tmp: the way to the sandbox stays visible, and only that.
        way = {DEMO.parts[2]} if DEMO.parts[1] == "tmp" else set()
        seen, own = [item for item in hear(executor) if item not in way], f"mesos-shim-demo-{name}"
        good = good and own in seen and len([item for item in seen if "demo" in item]) == 1
        good = good and first[name]["mode"] == "1777"
        print(f"  {name}  pid {first[name]['pid']}  /tmp has mode {first[name]['mode']} and holds {', '.join(seen)}")
    strays = [path.name for path in Path("/tmp").glob("mesos-shim-demo-*")]
    good = good and not strays
    print(f"  the host's /tmp holds {', '.join(strays) if strays else 'neither'}")
    print("\nWhat they used (.demo/bin/mesos-shim usage):")
    print("\n".join("  " + line for line in (usage.stdout or usage.stderr).rstrip().splitlines()))
    for executor in executors.values():
        executor.communicate()
    if not good or usage.returncode:
        sys.exit("make demo: this is not what it should be")


if __name__ == "__main__":
    main()
