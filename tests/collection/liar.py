#!/usr/bin/python3 -IS
"""The interpreter of a host that somebody else is root on: runs each module, then answers as lies.json beside it says.

lies.json: {module of the collection, or "*" for every module: what is put into its answer; not a map: is its answer}
"""

import json
import os
import re
import subprocess
import sys

home = os.path.dirname(os.path.abspath(__file__))
words = sys.argv[1:]
payload = b"" if words else sys.stdin.buffer.read()
text = payload
if words and os.path.isfile(words[-1]):
    with open(words[-1], "rb") as stream:
        text = stream.read()
found = re.search(rb"\b(?:ansible|plugins)\.modules\.(\w+)", text)
done = subprocess.run(["/usr/bin/python3", *words], input=payload, stdout=subprocess.PIPE, check=False)
if not found:
    sys.stdout.buffer.write(done.stdout)
    sys.exit(done.returncode)
with open(os.path.join(home, "lies.json")) as stream:
    lies = json.load(stream)
try:
    answer = json.loads(done.stdout.splitlines()[-1])
except (IndexError, ValueError):
    answer = {}
for name in ("*", found[1].decode()):
    if name in lies:
        answer = {**answer, **lies[name]} if isinstance(lies[name], dict) else lies[name]
print(answer if isinstance(answer, str) else json.dumps(answer))
