#!/usr/bin/env bash
# Write the owner file. Refuse a machine of another cluster. Safe to run again.
# Input: OWNER, the stack and the identity of its cluster.
set -euo pipefail

file=/etc/mlplatform/owner
if [ -f "$file" ]; then
  if [ "$(cat "$file")" != "$OWNER" ]; then
    echo "the machine belongs to another stack: $file has $(cat "$file"), and this stack is $OWNER" >&2
    exit 1
  fi
elif [ -f /etc/kubernetes/kubelet.conf ] || [ -n "$(ls -A /etc/kubernetes/manifests 2>/dev/null)" ]; then
  echo "the machine is a node of a cluster that this stack did not create: $file is missing" >&2
  exit 1
else
  mkdir -p "${file%/*}"
  chmod 755 "${file%/*}"
  # After a power cut, the file is complete or missing.
  printf '%s\n' "$OWNER" >"$file.new"
  chmod 644 "$file.new"
  sync "$file.new"
  mv "$file.new" "$file"
fi
echo "owner: $OWNER"
