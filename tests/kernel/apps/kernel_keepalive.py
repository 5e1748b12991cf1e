"""On the kernel's side: COUNT requests on one connection to the HTTP server; says how many were right."""

import http.client
import sys

address, count = sys.argv[1], int(sys.argv[2])
connection = http.client.HTTPConnection(address, 80, timeout=60)
right = 0
connection.connect()
first = connection.sock
for _ in range(count):
    connection.request("GET", "/small.txt")
    response = connection.getresponse()
    right += response.status == 200 and response.read() == b"hello over ustack\n"
print(right, "right,", "one connection" if connection.sock is first else "several connections")
