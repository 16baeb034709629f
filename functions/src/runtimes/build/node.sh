# Runs the install scripts of the packages that were installed without them.
. /var/runtime/build/pack.sh
npm rebuild --foreground-scripts --no-audit --no-fund >&2
pack
