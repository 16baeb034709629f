#!/bin/sh
# Run once for each request: the body is on standard input, the request in CGI variables, and what is
# printed is the reply. Standard error goes to the function's log.
echo "saying hello" >&2
echo "Hello from $REQUEST_METHOD $PATH_INFO"
