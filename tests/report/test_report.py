"""The fleet report: judged by what its filter says, by a browser, and on real hosts."""

from __future__ import annotations

import base64
import html
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.lib.shim import CHECKOUT
from tests.lib.waiting import wait_until

from . import fleet as fleets

COLLECTION = CHECKOUT / "collection"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
DARK, LIGHT = 0, 1


def checked(fleet: dict[str, dict[str, object]], *inventory: str) -> dict[str, object]:
    """What the filter makes of a fleet."""
    spec = importlib.util.spec_from_file_location("fleet_report", COLLECTION / "plugins/filter/fleet_report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fleet_report(list(fleet), fleet, inventory)


def page_of(fleet: dict[str, dict[str, object]], directory: Path) -> Path:
    """The page, written by Ansible itself with these hostvars."""
    inventory = {"mesos_agents": {"hosts": fleet}}
    (directory / "inventory.json").write_text(json.dumps(inventory))
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "fleet": "{{ groups.mesos_agents | mesos.containerizer.fleet_report(hostvars, ['inventory.yml']) }}",
        },
        "tasks": [
            {
                "ansible.builtin.template": {
                    "src": str(COLLECTION / "playbooks/templates/report.html.j2"),
                    "dest": str(directory / "report.html"),
                    "mode": "0644",
                }
            }
        ],
    }
    (directory / "play.json").write_text(json.dumps([play]))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventory.json", "play.json"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".venv/collections")}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the example fleet."""
    return page_of(fleets.fleet(), tmp_path_factory.mktemp("report"))


def commands_of(text: str) -> list[str]:
    """What the page offers to be pasted, as a browser copies it."""
    found = re.findall(r'<code class="command">(.*?)</code>', text, re.DOTALL)
    return [html.unescape(re.sub("<[^>]*>", "", item)) for item in found]


class Elements(HTMLParser):
    """All start tags, and the tags that are open at the end."""

    VOID = ("meta", "br", "link", "img", "hr", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


# --- what is judged


def test_what_needs_a_person_comes_worst_first() -> None:
    attention = checked(fleets.fleet())["attention"]
    assert [(item["level"], *(host["name"].split(".")[0] for host in item["hosts"])) for item in attention] == [
        ("unreachable", "agent-06"),
        ("usage-only", "agent-05"),
        ("drift", "agent-03"),
        ("full", "agent-04"),
        ("degraded", "agent-05"),
    ]
    assert all(item["remedy"] for item in attention)


def many(count: int) -> dict[str, dict[str, object]]:
    """A fleet in which many hosts want the same: differ alike, have gone, run three containers without isolation."""
    loose = [(fleets.container(number, f"loose-{number}", 1.0, 10, mode="usage-only"), 0.1) for number in (2, 1, 3)]
    drift = ["flag gc_delay", "flag isolation"]
    fleet = {f"differs-{number:02}": fleets.host(loose, mesos_agent_drift=drift) for number in range(count)}
    fleet |= {f"gone-{number}": {"mesos_report_host": {"unreachable": True}} for number in range(2)}
    return fleet | {"other": fleets.host([], mesos_agent_drift=["flag master"]), "good": fleets.host([])}


def test_what_is_the_same_on_many_hosts_is_said_once() -> None:
    attention = checked(many(30))["attention"]
    assert [(item["level"], len(item["hosts"])) for item in attention] == [
        ("unreachable", 2),
        ("usage-only", 30),
        ("drift", 30),
        ("drift", 1),
    ]
    differing = "differs-00, differs-01, differs-02 and 27 more"
    assert [item["line"] for item in attention] == [
        "gone-0 and gone-1: cannot be reached",
        f"{differing}: loose-1, loose-2 and loose-3 run without isolation (usage-only)",
        f"{differing}: not as the inventory says: flag gc_delay; flag isolation",
        "other: not as the inventory says: flag master",
    ]


def test_a_command_is_whole(tmp_path: Path) -> None:
    """What is offered can be pasted: program, inventory and every host, whatever the names are."""
    commands = [shlex.split(item["command"]) for item in checked(many(30), "my inventory.yml", "b")["attention"]]
    names = ",".join(f"differs-{number:02}" for number in range(30))
    inventory = ["-i", "my inventory.yml", "-i", "b"]
    look = ["--check", "--diff"]
    assert commands == [
        ["ansible", *inventory, "gone-0,gone-1", "-m", "ansible.builtin.ping"],
        [],
        ["ansible-playbook", *inventory, "mesos.containerizer.site", "--limit", names, *look],
        ["ansible-playbook", *inventory, "mesos.containerizer.site", "--limit", "other", *look],
    ]
    (broken,) = checked({"a b": {**SEEN, "mesos_report_error": "x"}})["attention"]
    assert broken["command"] == r"ansible-playbook mesos.containerizer.verify --limit '~^a\U00000020b$'"
    text = page_of(many(30), tmp_path).read_text()
    assert commands_of(text) == [
        item["command"] for item in checked(many(30), "inventory.yml")["attention"] if item["command"]
    ]
    assert ">differs-10</a> and 19 more" in text


def test_counts_and_differences() -> None:
    found = checked(fleets.fleet())
    assert (found["reachable"], found["as_wanted"], found["containers"], found["enforced"]) == (5, 2, 8, 7)
    assert [(release["name"], release["hosts"]) for release in found["releases"]] == [
        ("0.2.0-5f2c9e0b7a41", 4),
        ("0.1.0-0d9be1aa4c07", 1),
    ]
    assert found["changes"] == [
        {"name": "20260824T091502Z-7c1e", "hosts": 4},
        {"name": "20260311T140911Z-b04d", "hosts": 1},
    ]
    assert [host["change"] for host in found["hosts"]][2:] == [
        "20260311T140911Z-b04d",
        *["20260824T091502Z-7c1e"] * 2,
        None,
    ]
    assert [(flag["flag"], [row["value"] for row in flag["values"]]) for flag in found["flags"]] == [
        ("gc_delay", [None, "2days"])
    ]


def test_what_the_agent_runs_without_the_shim_is_not_enforced() -> None:
    """As on the day of the rollout, when all executors are older than the shim."""
    known = fleets.host([(fleets.container(1, "new", 1, 1), 0.1)])
    known["mesos_report_after"]["without_shim"] = ["old-1", "old-2"]
    found = checked({"a": known})
    assert (found["containers"], found["enforced"], found["as_wanted"]) == (3, 1, 0)
    (item,) = found["attention"]
    assert item["line"] == "a: old-1 and old-2 run without isolation (without the shim)"
    assert "before the shim came" in item["remedy"]


def test_cpu_is_what_was_used_between_the_looks() -> None:
    first = checked(fleets.fleet())["hosts"][0]
    frontend = next(item for item in first["containers"] if "frontend" in item["executor"])
    assert frontend["cpu"] == pytest.approx(1.31)
    assert frontend["cpu_share"] == pytest.approx(1.31 / 2)
    assert frontend["memory_share"] == pytest.approx(640 / 1024)
    assert first["memory"] == 16 << 30


@pytest.mark.parametrize("name", ["plain-1.example_x", "a b", "x,other", "y:other", "!plain", "~.*", "*", "ä", "a[0]"])
def test_a_name_in_a_command_means_that_host_alone(name: str) -> None:
    manager = pytest.importorskip("ansible.inventory.manager")
    loader = pytest.importorskip("ansible.parsing.dataloader").DataLoader()
    (broken,) = checked({name: {**SEEN, "mesos_report_error": "x"}})["attention"]
    inventory = manager.InventoryManager(loader, sources=[], parse=False)
    for known in (name, "other", "plain", "a", "b", "a0"):
        inventory.add_host(known) if known not in inventory.hosts else None
    assert [host.name for host in inventory.get_hosts(shlex.split(broken["command"])[-1])] == [name]


def test_a_container_of_which_no_memory_is_known_is_shown() -> None:
    fleet = fleets.fleet()
    (statistics,) = (item["statistics"] for item in fleet["agent-04.example.net"]["mesos_report_after"]["containers"])
    del statistics["mem_rss_bytes"]
    assert not [item for item in checked(fleet)["attention"] if item["level"] == "full"]


def test_a_container_that_was_seen_once_has_no_cpu_use() -> None:
    fleet = fleets.fleet()
    fleet["agent-01.example.net"]["mesos_report_before"] = {"containers": []}
    assert {item["cpu"] for item in checked(fleet)["hosts"][0]["containers"]} == {None}


HOST: dict[str, object] = {"release": None, "cpus": None, "memory": None, "findings": [], "doctor_error": ""}
SEEN: dict[str, object] = {"mesos_report_host": HOST, "mesos_report_flags": {"flags": {}}}
LITTLE: dict[str, dict[str, object]] = {
    "no-host": {**SEEN, "mesos_report_host": {"failed": True, "msg": "x answers what shim_host_info never does"}},
    "nothing": {},
    "went-away": {"mesos_report_host": HOST},
    # What a host that went between two plays gives while a kept connection stands: the end of the task.
    "fell-silent": {**SEEN, "mesos_report_host": {"failed": True, "msg": "Timed out", "timedout": {"period": 5}}},
    "no-shim": SEEN,
    "no-doctor": {**SEEN, "mesos_report_host": {**HOST, "doctor_error": "no JSON"}},
    "no-usage": {**SEEN, "mesos_report_after": {"failed": True, "msg": "cannot be run"}},
    "no-flags": {**SEEN, "mesos_report_flags": {"failed": True, "msg": "x"}},
    "no-answer": {**SEEN, "mesos_report_error": "a\nb"},
}


def test_hosts_of_which_little_is_known_are_shown_all_the_same(tmp_path: Path) -> None:
    found = checked(LITTLE)
    assert {host["name"]: host["state"] for host in found["hosts"]} == {
        "nothing": "unreachable",
        "went-away": "unreachable",
        "fell-silent": "unreachable",
        "no-shim": "ok",
        "no-host": "broken",
        "no-doctor": "broken",
        "no-usage": "broken",
        "no-flags": "broken",
        "no-answer": "broken",
    }
    elements = Elements(page_of(LITTLE, tmp_path).read_text())
    assert (elements.open, elements.wrong) == ([], [])
    assert len([tag for tag, _ in elements.tags if tag == "details"]) == len(LITTLE)


# --- the page as text


def test_the_page_names_the_change_of_each_host(page: Path) -> None:
    text = page.read_text()
    said = 'Generation 3, change <span class="mono">%s</span>'
    assert text.count(said % "20260824T091502Z-7c1e") == 4 and text.count(said % "20260311T140911Z-b04d") == 1
    assert text.count(">change</td>") == 1  # hosts differ in it


def test_the_page_is_well_formed_and_loads_nothing(page: Path) -> None:
    text = page.read_text()
    elements = Elements(text)
    assert (elements.open, elements.wrong) == ([], [])
    assert not {"script", "link", "img", "iframe", "object", "form"} & {tag for tag, _ in elements.tags}
    assert re.findall(r"(?:https?:)?//[a-z]|@import|url\(", text.replace("zk://mesos", "")) == []
    policy = next(attrs["content"] for tag, attrs in elements.tags if attrs.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    ids = {attrs["id"] for _, attrs in elements.tags if attrs.get("id")}
    links = [attrs["href"] for tag, attrs in elements.tags if tag == "a"]
    assert len(links) == 6 + 5  # the table of hosts, and what needs a person
    assert {link.removeprefix("#") for link in links} <= ids


def test_a_strangers_words_stay_words(tmp_path: Path) -> None:
    """Names come from frameworks: none of them may become markup."""
    evil = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'"
    fleet = fleets.fleet()
    known = fleet["agent-01.example.net"]
    known["mesos_report_flags"]["flags"]["attributes"] = {evil: evil}
    known["mesos_agent_drift"] = [evil]
    known["mesos_report_host"]["findings"] = [{"check": evil, "state": "broken", "message": evil}]
    for item in known["mesos_report_after"]["containers"]:
        item.update(executor_id=evil, mode=evil, isolation=[evil])
    text = page_of(fleet, tmp_path).read_text()
    elements = Elements(text)
    assert not {"script", "img"} & {tag for tag, _ in elements.tags}
    assert "&lt;script&gt;alert(1)" in text
    assert not [attrs for _, attrs in elements.tags if any(name.startswith("on") for name in attrs)]


def test_a_host_name_makes_a_safe_anchor(tmp_path: Path) -> None:
    found = checked({'a"b c': {}, "ä.1": {}})
    anchors = [host["anchor"] for host in found["hosts"]]
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", anchor) for anchor in anchors)
    assert len(set(anchors)) == 2


# --- the page in a browser


@pytest.fixture(scope="module")
def browser() -> str:
    """Debian's Chromium."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs chromium: apt-get install chromium")
    return path


def browse(browser: str, *arguments: str) -> bytes:
    """Chromium without a window and with a profile of its own; what it prints."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, *FLAGS, f"--user-data-dir={profile}", *arguments]
        done = subprocess.run(command, capture_output=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


MEASURE = """<!DOCTYPE html><body style="margin:0"><script>
const frame = document.createElement("iframe");
frame.width = WIDTH; frame.height = 900; frame.style.border = 0;
frame.onload = () => {
  const inner = frame.contentDocument, seen = frame.contentWindow.getComputedStyle(inner.body);
  const wide = [...inner.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > WIDTH + 0.5);
  const bars = [...inner.querySelectorAll("#ANCHOR .fill")].map(
    e => e.getBoundingClientRect().width / e.parentElement.getBoundingClientRect().width);
  const said = {overflow: inner.documentElement.scrollWidth - WIDTH, wide: wide.map(e => e.className || e.tagName),
    background: seen.backgroundColor, ink: seen.color, bars: bars, head: inner.querySelector("thead").offsetHeight,
    scripts: inner.scripts.length,
    copied: [...inner.querySelectorAll(".command")].map(e => e.innerText)};
  document.body.innerHTML = "<pre id=said></pre>";
  document.getElementById("said").textContent = JSON.stringify(said);
};
frame.srcdoc = new TextDecoder().decode(Uint8Array.from(atob("PAGE"), c => c.charCodeAt(0)));
document.body.append(frame);
</script></body>"""


def measure(browser: str, page: Path, width: int, scheme: int = LIGHT) -> dict[str, object]:
    """How the page comes out in a window of that width."""
    anchor = checked(fleets.fleet())["hosts"][0]["anchor"]
    text = MEASURE.replace("WIDTH", str(width)).replace("ANCHOR", anchor)
    # A frame inherits the policy of what is around it, and only the strictest counts: ours stays in force.
    text = text.replace("PAGE", base64.b64encode(page.read_bytes()).decode())
    wrapper = page.parent / f"measure-{width}-{scheme}.html"
    wrapper.write_text(text)
    setting = f"--blink-settings=preferredColorScheme={scheme}"
    said = browse(browser, setting, "--virtual-time-budget=5000", "--dump-dom", f"file://{wrapper}").decode()
    found = re.search(r'<pre id="said">(.*?)</pre>', said, re.DOTALL)
    assert found, said[-2000:]
    return json.loads(found[1].replace("&quot;", '"').replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))


@pytest.mark.parametrize("width", [320, 390, 768, 1080, 1920])
def test_it_fits_every_width(browser: str, page: Path, width: int) -> None:
    seen = measure(browser, page, width)
    assert (seen["overflow"], seen["wide"]) == (0, [])
    # A phone has no room for columns: the heads go, and each cell names itself.
    assert (seen["head"] == 0) == (width <= 860)


@pytest.mark.parametrize("width", [390, 1280])
def test_long_names_break_instead_of_the_page(browser: str, tmp_path: Path, width: int) -> None:
    """An executor's id is the framework's to choose."""
    endless = fleets.host([(fleets.container(1, "x" * 255, 1.0, 10), 0.1)], mesos_agent_drift=["flag " + "y" * 200])
    seen = measure(browser, page_of({"agent-01.example.net": endless, "h" * 63: endless}, tmp_path), width)
    assert (seen["overflow"], seen["wide"]) == (0, [])


@pytest.mark.parametrize("width", [375, 1280])
def test_what_is_copied_is_the_command(browser: str, tmp_path: Path, width: int) -> None:
    """However its lines are broken on the screen."""
    seen = measure(browser, page_of(many(30), tmp_path), width)
    assert (seen["overflow"], seen["wide"]) == (0, [])
    wanted = [item["command"] for item in checked(many(30), "inventory.yml")["attention"] if item["command"]]
    assert seen["copied"] == wanted


def test_a_fleet_without_hosts_is_no_good_fleet(tmp_path: Path) -> None:
    text = page_of({}, tmp_path).read_text()
    assert "no host was checked" in text
    assert "Nothing: every host" not in text
    assert 'class="tile good"' not in text


def test_dark_and_light(browser: str, page: Path) -> None:
    seen = {scheme: measure(browser, page, 1080, scheme) for scheme in (DARK, LIGHT)}
    for scheme, found in seen.items():
        back, ink = (luminance(found[name]) for name in ("background", "ink"))
        assert (back < ink) == (scheme == DARK)
        lighter, darker = max(back, ink), min(back, ink)
        assert (lighter + 0.05) / (darker + 0.05) >= 7  # WCAG 2, level AAA


def luminance(colour: str) -> float:
    """Relative luminance of a CSS colour (WCAG 2)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_bars_are_as_long_as_what_they_show(browser: str, page: Path) -> None:
    bars = measure(browser, page, 1080)["bars"]
    # Frontend and cron of the first host: CPU, memory, CPU, memory.
    assert bars == pytest.approx([1.31 / 2, 640 / 1024, 0.04 / 0.5, 96 / 256], abs=0.02)


def test_in_print_everything_is_there_though_it_was_closed_on_the_screen(
    browser: str, page: Path, tmp_path: Path
) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext: apt-get install poppler-utils")
    closed = tmp_path / "closed.html"
    text = page.read_text()
    assert " open>" in text
    closed.write_text(re.sub(r'(<details id="[^"]*") open>', r"\1>", text))
    browse(browser, "--no-pdf-header-footer", f"--print-to-pdf={tmp_path}/page.pdf", f"file://{closed}")
    done = subprocess.run(
        ["pdftotext", "-layout", tmp_path / "page.pdf", "-"], capture_output=True, text=True, check=True
    )
    for words in ("What needs a person", "spark-executor-17", "launcher_dir", "flag gc_delay", "0.04 / 0.5 CPU"):
        assert words in done.stdout, words
    # Paper has room for columns: a host is one line of a table.
    assert re.search(r"agent-01\.example\.net +as wanted +0\.2\.0-5f2c9e0b7a41 +2 ", done.stdout)


# --- real hosts


@pytest.mark.hosts
def test_on_real_hosts(hosts, tmp_path: Path) -> None:
    ansible = str(Path(sys.executable).with_name("ansible-playbook"))
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "PWD": str(tmp_path)}

    def play(name: str, inventory: Path, *more: str) -> str:
        command = [ansible, "-i", str(inventory), f"playbooks/{name}.yml", *more]
        done = subprocess.run(
            command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False, timeout=100
        )
        assert done.returncode in ((0, 4) if name == "report" else (0,)), done.stdout + done.stderr
        return done.stdout

    pasted = ""
    with hosts(3) as fleet:
        wanted = {"ansible_timeout": 3, "mesos_agent_flags": {"work_dir": "/var/lib/mesos", "gc_delay": "2days"}}
        inventory = fleet.inventory(tmp_path / "hosts.json", **wanted)
        play("site", inventory)
        busy, changed, gone = fleet
        busy.ssh(
            "mkdir -p /srv/sandbox && cd /srv/sandbox && systemd-run --unit=busy --working-directory=/srv/sandbox "
            "/opt/mesos-shim/bin/mesos-shim run --container-id busy-one --volume tmp:/tmp -- "
            "/bin/sh -c 'echo started > /tmp/there; while :; do :; done'"
        )
        wait_until((busy.root / "srv/sandbox/tmp/there").exists, "start of the container")
        changed.ssh("echo '{{ 7 * 6 }}days' > /etc/mesos-slave/gc_delay")  # a host's words are no template of ours
        gone.reachable(False)
        path = tmp_path / "report.html"
        said = play(
            "report", inventory, "--extra-vars", json.dumps({"mesos_report_path": str(path), "mesos_report_timeout": 5})
        )
        gone.reachable(True)
        # What the page offers is pasted as it is.
        offered = commands_of(path.read_text())
        there = {**environment, "PATH": f"{Path(ansible).parent}:{environment['PATH']}"}
        for command in offered:
            done = subprocess.run(
                ["sh", "-c", command], cwd=CHECKOUT, env=there, capture_output=True, text=True, check=False, timeout=100
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            pasted += done.stdout
    assert len(offered) == 2
    assert '"ping": "pong"' in pasted
    assert "\n+gc_delay = 2days" in pasted
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", path.read_text()))
    assert "host-3: cannot be reached" in said
    assert "host-2: not as the inventory says: flag gc_delay" in said
    assert "busy-one enforced" in text
    used = re.search(r"busy-one enforced \d+ (\d+\.\d+)", text)
    assert used, text
    assert float(used[1]) > 0.1
    assert "gc_delay {{ 7 * 6 }}days" in text
