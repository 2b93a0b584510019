#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qmp.py SOCKET COMMAND [ARGUMENTS-AS-JSON]: one QMP command; prints what it returned."""
import json
import socket
import sys

s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect(sys.argv[1])
f = s.makefile("rw")
f.readline()
for i, (command, arguments) in enumerate((("qmp_capabilities", "{}"), (sys.argv[2], (sys.argv + ["{}"])[3]))):
    json.dump({"execute": command, "arguments": json.loads(arguments), "id": i}, f)
    f.write("\n")
    f.flush()
    answer = {}
    while answer.get("id") != i:
        answer = json.loads(f.readline())
if "return" not in answer:
    sys.exit(json.dumps(answer["error"]))
print(json.dumps(answer["return"]))
