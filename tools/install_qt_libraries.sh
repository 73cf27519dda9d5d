#!/bin/sh
# Sees to it that a Qt window can open on this machine without a screen (Linux): Qt's system
# libraries and Xvfb. Installs what is missing where it may, and otherwise says what to install.
# Quick when all is there; on other systems there is nothing to do.
set -eu
[ "$(uname)" = Linux ] || exit 0
PATH="$PATH:/usr/sbin:/sbin" # where Debian keeps ldconfig, which is not in a user's PATH

# "library package" pairs, the packages by Debian's names. All but the last two are what PyQt6's
# wheel links to and brings no copy of.
wanted='
libEGL.so.1             libegl1
libGL.so.1              libgl1
libdbus-1.so.3          libdbus-1-3
libfontconfig.so.1      libfontconfig1
libglib-2.0.so.0        libglib2.0-0
libxkbcommon-x11.so.0   libxkbcommon-x11-0
libxcb-cursor.so.0      libxcb-cursor0
libxcb-icccm.so.4       libxcb-icccm4
libxcb-image.so.0       libxcb-image0
libxcb-keysyms.so.1     libxcb-keysyms1
libxcb-randr.so.0       libxcb-randr0
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0       libxcb-shape0
libxcb-xinerama.so.0    libxcb-xinerama0
xvfb-run                xvfb
xauth                   xauth
'

missing_packages() {
    libraries=$(ldconfig -p)
    echo "$wanted" | while read -r name package; do
        case $name in
            '') continue ;;
            *.so.*) case $libraries in *"$name "*) continue ;; esac ;;
            *) if command -v "$name" >/dev/null; then continue; fi ;;
        esac
        printf ' %s' "$package"
    done
}

packages=$(missing_packages)
[ -n "$packages" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root='env'
elif sudo -n true 2>/dev/null; then
    as_root='sudo -n env'
else
    as_root=''
fi

if [ -z "$as_root" ] || ! command -v apt-get >/dev/null; then
    echo "Windows cannot open here yet; install what Qt needs (Debian's names), then try again:" \
        "sudo apt-get install$packages" >&2
    exit 1
fi

echo "Installing what Qt needs to open a window:$packages"
$as_root apt-get -qq update
# shellcheck disable=SC2086 # the list is words on purpose
$as_root DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends \
    $packages >/dev/null
