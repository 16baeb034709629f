# Sourced by the build scripts. Standard output is the archive of the built tree and nothing else.
set -eu
export HOME=/tmp npm_config_cache=/tmp/.npm npm_config_update_notifier=false
mkdir /tmp/build
cp -R /function/. /tmp/build
cd /tmp/build
chmod -R u+w .

pack() {
    find . -mindepth 1 -maxdepth 1 -printf '%P\0' | LC_ALL=C sort -z |
        tar --create --file=- --null --files-from=- --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
            --hard-dereference --format=pax --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime
}
