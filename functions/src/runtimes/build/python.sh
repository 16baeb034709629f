# Installs what requirements.txt names, running the build scripts of packages that come as source.
. /var/runtime/build/pack.sh
/usr/bin/python3 -m pip install --target .fn-packages --upgrade --no-compile --no-build-isolation --no-cache-dir \
    --disable-pip-version-check --retries 0 --timeout 5 --requirement requirements.txt >&2
pack
