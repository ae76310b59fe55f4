#!/usr/bin/env python3
"""Puts result tables into README.md: every block

    <!-- espalier report RUN --markdown -->
    <!-- end of report -->

is filled with what that command prints. A run that is not there leaves its block as it is.

usage: scripts/update_readme.py [--check]     --check: change nothing, exit 1 when something would change
"""
import os
import re
import subprocess
import sys

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
readme = os.path.join(root, "README.md")
program = os.environ.get("ESPALIER", os.path.join(root, "build", "espalier"))
block = re.compile(r"(<!-- espalier (report (\S+) --markdown) -->\n).*?(<!-- end of report -->)", re.DOTALL)


def fill(match):
    head, command, run, tail = match.groups()
    if not os.path.exists(os.path.join(root, run, "result.json")):
        print(f"{run}: no result.json, left as it is")
        return match.group(0)
    table = subprocess.run([program, *command.split()], cwd=root, check=True, capture_output=True, text=True).stdout
    print(f"{run}: table of {table.count(chr(10) + '|')} lines")
    return f"{head}\n{table}\n{tail}"


text = open(readme).read()
new = block.sub(fill, text)
if "--check" in sys.argv[1:]:
    sys.exit(new != text)
if new != text:
    with open(readme, "w") as file:
        file.write(new)
