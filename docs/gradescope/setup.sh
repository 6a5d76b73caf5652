#!/usr/bin/env bash
# Gradescope runs this once, when it builds the autograder.
set -e
apt-get update
apt-get install -y python3-venv
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install uv
/autograder/venv/bin/uv pip install --python /autograder/venv --torch-backend cpu \
    -r /autograder/source/requirements.txt
