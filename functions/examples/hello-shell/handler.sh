#!/bin/sh
# The body of the request is the name to greet; the rest of the request is in the environment.
name=$(cat)
echo "Hello, ${name:-world}! You sent a $REQUEST_METHOD to $PATH_INFO."
