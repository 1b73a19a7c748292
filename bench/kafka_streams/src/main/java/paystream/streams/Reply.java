package paystream.streams;

import paystream.CommandReply;

/** An answer for an ingress process: the partition of payments.replies on which it is awaited, and what it says. */
record Reply(int partition, CommandReply reply) {}
