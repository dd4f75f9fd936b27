#!/usr/bin/env bash
# Give the disk $1 a file system if it has nothing on it: a machine that is made anew finds the volumes of the last one.
set -euo pipefail

disk=$1
[ -e "$disk" ] || { echo "there is no disk $disk" >&2; exit 1; }
found=0
blkid --probe "$disk" >/dev/null || found=$?
case $found in
  2)
    mkfs.ext4 -q -L openebs "$disk"
    echo "$disk is formatted"
    ;;
  *) echo "$disk has something on it, which is kept" ;;
esac
