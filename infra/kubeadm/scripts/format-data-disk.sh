#!/usr/bin/env bash
# Format the disk $1 if it is empty. A disk with data stays as it is, so a replaced machine keeps its volumes.
set -euo pipefail

disk=$1
[ -e "$disk" ] || { echo "disk $disk does not exist" >&2; exit 1; }
code=0
blkid --probe "$disk" >/dev/null || code=$?
case $code in
  2) # no signature found
    mkfs.ext4 -q -L openebs "$disk"
    echo "$disk is formatted"
    ;;
  *) echo "$disk has data and stays as it is" ;;
esac
