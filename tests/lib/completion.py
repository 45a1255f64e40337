"""What bash completes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def bash_completes(prefix: Path, line: str) -> list[str]:
    """What bash itself offers for `line`, by its own machinery: the function, COMP_WORDS broken as readline does."""
    script = f"""
source {prefix}/share/bash-completion/completions/mesos-shim
PATH={prefix}/bin:$PATH
complete_line() {{
    local IFS=$' \\t\\n' COMP_LINE=$1 COMP_POINT=${{#1}}
    eval "COMP_WORDS=($2)"; COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
    _mesos_shim mesos-shim "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}" 2>/dev/null
    printf '%s\\n' "${{COMPREPLY[@]}}"
}}
"""
    words = [word for word in re.split(r"([=:@])|\s+", line) if word]
    if line.endswith((" ", "=")):
        words.append("")
    quoted = " ".join(f"'{word}'" for word in words)
    script += f'complete_line "{line}" "{quoted}"\n'
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=False, cwd=prefix, timeout=30
    )
    return sorted(filter(None, done.stdout.splitlines()))
