#!/usr/bin/env bash
# Listen on ports in the background, and print the process ID. A port that is in use is skipped: its program listens.
# Input: PORTS, as in `6443/tcp 8472/udp`; SECONDS_TO_LISTEN, after which the listener ends.
set -euo pipefail

# A listener of a killed `up` may still run. It would end in the middle of this check.
for port in $PORTS; do
  for pid in $(ss -Hlnp "--${port#*/}" "sport = :${port%/*}" | sed -n 's/.*"preflight-ports",pid=\([0-9]*\).*/\1/p'); do
    kill "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  done
done

# The listener must not inherit the lock of the scripts, file descriptor 9.
# shellcheck disable=SC2086 # several words
perl -e '
  use strict; use IO::Socket::INET; use IO::Select; use POSIX ();
  $0 = "preflight-ports";
  my $seconds = shift;
  my $sockets = IO::Select->new;
  for (@ARGV) {
    my ($port, $protocol) = split "/";
    my @listen = $protocol eq "tcp" ? (Listen => 128) : ();
    my $socket = IO::Socket::INET->new(LocalPort => $port, Proto => $protocol, ReuseAddr => 1, @listen);
    $sockets->add($socket) if $socket;
  }
  my $pid = fork;
  if ($pid) { print "$pid\n"; exit }
  POSIX::setsid();
  open STDIN, "<", "/dev/null"; open STDOUT, ">", "/dev/null"; open STDERR, ">", "/dev/null";
  alarm $seconds;
  while ($sockets->count) {
    for my $socket ($sockets->can_read) {
      if ($socket->socktype == SOCK_STREAM) { $socket->accept }
      elsif (defined $socket->recv(my $data, 16)) { $socket->send($data) }
    }
  }
' "$SECONDS_TO_LISTEN" $PORTS 9>&-
