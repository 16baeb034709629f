#!/bin/sh
# Builds aws-lambda-ric for Node below $1, out of the package as npm has it. Its own install script wants cmake, autoconf and libtool from the
# system; here cmake comes from PyPI and builds both of the libraries that lie in the package, and node-gyp the module on them.
set -eu
out=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
/usr/bin/python3 -m venv tools
tools/bin/python -m pip install --quiet --disable-pip-version-check cmake==3.31.6
PATH=$work/tools/bin:$PATH
npm pack --silent aws-lambda-ric@3.3.0 > /dev/null
tar xzf aws-lambda-ric-3.3.0.tgz
cd package/deps
. ./versions
for archive in curl-"$CURL_VERSION" aws-lambda-cpp-"$AWS_LAMBDA_CPP_RELEASE"; do
  tar xzf "$archive.tar.gz" --no-same-owner
done
to="-DCMAKE_INSTALL_PREFIX=$PWD/artifacts -DCMAKE_PREFIX_PATH=$PWD/artifacts -DCMAKE_INSTALL_LIBDIR=lib"
common="$to -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DCMAKE_POLICY_VERSION_MINIMUM=3.5"
# shellcheck disable=SC2086
cmake $common -S curl-curl-"$CURL_VERSION" -B curl-build -DBUILD_SHARED_LIBS=OFF -DHTTP_ONLY=ON -DCURL_ENABLE_SSL=OFF -DCURL_ZLIB=OFF \
  -DBUILD_CURL_EXE=OFF -DBUILD_TESTING=OFF -DENABLE_THREADED_RESOLVER=OFF
make -C curl-build install
# shellcheck disable=SC2086
cmake $common -S aws-lambda-cpp-"$AWS_LAMBDA_CPP_RELEASE" -B cpp-build
make -C cpp-build install
cd ..
npm install --ignore-scripts --no-audit --no-fund --omit=dev --silent
npx node-gyp rebuild
mkdir -p "$out/node_modules/aws-lambda-ric"
cp -r bin dist package.json "$out/node_modules/aws-lambda-ric/"
# Where its own script for that puts it.
cp build/Release/rapid-client.node "$out/node_modules/aws-lambda-ric/dist/"
touch "$out/built"
