"""The request line that people paste."""

import json
import re
import subprocess

from fraud.run.smoke import EXAMPLE, curl


def body_of(line: str, shell: str) -> dict[str, object]:
    """The body the line would send, with curl replaced by a program that prints it."""
    script = 'curl() { for last; do :; done; printf "%s" "$last"; }\n' + line
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=True)
    content: dict[str, object] = json.loads(done.stdout)
    return content


def test_the_line_works_in_a_posix_shell_with_a_new_id_each_time() -> None:
    line = curl("http://127.0.0.1:8000", "a.b.c")
    assert "\n" not in line
    first, second = body_of(line, "sh"), body_of(line, "bash")
    assert first["transaction_id"] != second["transaction_id"]
    assert re.fullmatch(r"TXN_\d{19}", str(first["transaction_id"]))
    assert {name: first[name] for name in EXAMPLE} == EXAMPLE
