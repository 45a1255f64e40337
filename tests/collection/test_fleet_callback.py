"""The callback `fleet`: what it prints of a run, and that it leaves out nothing that somebody has to know."""

import pytest

from tests.lib.collection import clone_to

from ..lib.ansible_versions import MATRIX, environment, runner

pytestmark = pytest.mark.timeout(600)

INVENTORY = """\
all:
  hosts:
    a: {full: true}
    b: {full: true}
    c: {full: false}
    d: {full: false}
    gone: {ansible_connection: ssh, ansible_host: 192.0.2.1, ansible_ssh_common_args: -o ProxyCommand=false}
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
"""
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Reach each host
      ansible.builtin.ping:
    - name: Change some
      ansible.builtin.command: /bin/true
      changed_when: full
    - name: Say something
      ansible.builtin.debug:
        msg: said by {{ inventory_hostname }}
      when: inventory_hostname == 'a'
    - name: Fail in a loop
      ansible.builtin.command: /bin/sh -c "echo the reason of {{ item }} >&2; exit {{ item }}"
      loop: [0, 3]
      changed_when: false
      ignore_errors: true
      when: inventory_hostname == 'd'
    - name: Keep a secret
      ansible.builtin.command: /bin/false sesame
      no_log: true
      ignore_errors: true
    - name: Give up
      ansible.builtin.fail:
        msg: "{{ 'the disk is full' if full else 'the cable of ' ~ inventory_hostname ~ ' is out' }}"
"""


@pytest.mark.parametrize(("core", "python"), [MATRIX[0], MATRIX[-1]])
def test_what_is_said(public_dir, core, python):
    """Each fault once, with the hosts that it holds for; nothing of hosts on which nothing has happened."""
    said = told(public_dir, core, python)
    assert "TASK [Reach each host]" in said and "gone" in said.partition("TASK [Change some]")[0]
    assert "ok: [" not in said.replace('ok: [a] => {\n    "msg": "said by a"', ""), said
    changing = said.partition("TASK [Change some]")[2].partition("TASK")[0].splitlines()[1:]
    assert sorted(filter(None, changing)) == ["changed: [a]", "changed: [b]"]
    assert "skipping" not in said
    assert sorted(line for line in said.splitlines() if "the disk is full" in line and "fatal" in line) == [
        'fatal: [a, b]: FAILED! => {"msg": "the disk is full"}'
    ], said
    for host in ("c", "d"):
        assert f"fatal: [{host}]: FAILED! =>" in said and f"the cable of {host} is out" in said
    assert "the reason of 3" in said and "...ignoring" in said
    assert "sesame" not in said
    recap = said.partition("PLAY RECAP")[2].strip().splitlines()[1:]
    assert [line.partition(" : ")[0] for line in recap] == ["a", "b", "c", "d", "gone"], recap


def test_with_v_it_is_the_default(public_dir):
    said = told(public_dir, *MATRIX[-1], "-v")
    for line in ("ok: [c] =>", "fatal: [a]: FAILED! =>", "fatal: [b]: FAILED! =>"):
        assert line in said, said
    assert "sesame" not in said


def told(root, core, python, *arguments):
    """What ansible-playbook prints of the play above."""
    programs = environment(core, python)
    run = runner(programs, clone_to(root / "clone"), ANSIBLE_STDOUT_CALLBACK="mesos.containerizer.fleet")
    (root / "inventory.yml").write_text(INVENTORY)
    (root / "play.yml").write_text(PLAYBOOK)
    command = (programs / "ansible-playbook", "-i", str(root / "inventory.yml"), str(root / "play.yml"))
    return run(*command, *arguments, code=4)
