#!/usr/bin/env bash
# Print each target that accepts no connection, or for UDP does not reply, within five seconds.
# Input: TARGETS, as in `10.0.0.2:6443/tcp 10.0.0.2:8472/udp`.
set -euo pipefail

# shellcheck disable=SC2086 # several words
perl -e '
  use strict; use IO::Socket::INET; use IO::Select;
  my (%target, %refused);
  my ($tcp, $udp) = (IO::Select->new, IO::Select->new);
  for (@ARGV) {
    my ($peer, $protocol) = split "/";
    my $socket = IO::Socket::INET->new(PeerAddr => $peer, Proto => $protocol, Blocking => 0);
    if (!$socket) { print "$_\n"; next }
    $target{$socket} = $_;
    ($protocol eq "tcp" ? $tcp : $udp)->add($socket);
  }
  my $end = time + 5;
  while (time <= $end && ($tcp->count || $udp->count)) {
    $_->send("x") for $udp->handles;
    my ($replied, $connected) = IO::Select->select($udp, $tcp, undef, 0.5);
    for my $socket (@{$replied || []}) {
      if (defined $socket->recv(my $data, 16)) { delete $target{$socket}; $udp->remove($socket) }
    }
    for my $socket (@{$connected || []}) {
      delete $target{$socket} if $socket->connected;
      $tcp->remove($socket);
    }
    select undef, undef, undef, 0.1;
  }
  print "$_\n" for sort values %target;
' $TARGETS
