#!/bin/sh
# Installs Murmur on this board, offline, from the folder that this file is in; as root. Run it again to install anew.
set -eu
cd "$(dirname "$0")"
if [ "$(id -u)" != 0 ]; then
    echo "install.sh: run it as root (sudo sh install.sh)" >&2
    exit 1
fi
# Whatever is wrong with the folder is found before anything is replaced.
sha256sum --quiet --check SHA256SUMS
site=
if [ -f system.txt ]; then
    # Of what has no wheels for this processor.
    site=--system-site-packages
    if ! python3 -c "import numpy; numpy.zeros(1)" 2>/dev/null; then
        echo "install.sh: this board needs $(cat system.txt) first: apt-get install $(cat system.txt)" >&2
        exit 1
    fi
fi

python3 -m venv --clear --without-pip $site /opt/murmur
set -- pip-*.whl
# requirements.txt names everything, so that nothing else is looked for.
/opt/murmur/bin/python3 "$1/pip" install --quiet --no-compile --no-index --find-links . --require-hashes --no-deps \
    --requirement requirements.txt
id murmur >/dev/null 2>&1 ||
    useradd --system --user-group --home-dir /var/lib/murmur --no-create-home --shell /usr/sbin/nologin murmur
install -d -m 700 -o murmur -g murmur /var/lib/murmur
install -D -m 644 murmur-node.service /etc/systemd/system/murmur-node.service
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
echo "installed in /opt/murmur; put node.toml and what it names into /var/lib/murmur, then:"
echo "  chown -R murmur: /var/lib/murmur && systemctl enable --now murmur-node"
