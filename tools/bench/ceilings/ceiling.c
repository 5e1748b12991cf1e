/*
 * What the device and two processors allow: a program behind TUN that only acknowledges (its sink), or only sends
 * (its source). No timers, no options, no recovery but going back when nothing moves: not a TCP, a bound for one.
 *
 *   bench-ceiling DEVICE PORT [--offload]
 */
#define _GNU_SOURCE
#include "packet.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MSS 1460
#define RUN (LARGEST_FRAME / MSS * MSS - MSS) /* bytes of one frame with offload: whole segments under 64 KiB */
#define BATCH 64
#define SHIFT 14

enum stage { CLOSED, OPEN, DONE };

struct flow {
	enum stage stage;
	int sends;
	struct segment reply; /* addresses and ports of what we send */
	uint32_t rcv_nxt, snd_nxt, snd_una;
	uint64_t window;
	int window_shift;
	uint64_t bytes;
	int must_ack;
};

static int device, offload;
static unsigned base_port;
static uint8_t payload[LARGEST_FRAME];

static int say(struct flow *flow, uint8_t flags, const uint8_t *data, size_t length)
{
	flow->reply.seq = flow->snd_nxt;
	flow->reply.ack = flow->rcv_nxt;
	flow->reply.flags = flags;
	flow->reply.window = 4096; /* << 14: 64 MiB */
	if (send_segment(device, offload, &flow->reply, data, length, MSS) < 0)
		return -1;
	flow->snd_nxt += (uint32_t)length + (flags & (SYN | FIN) ? 1 : 0);
	flow->must_ack = 0;
	return 0;
}

static void open_with(struct flow *flow, const struct segment *syn)
{
	memset(flow, 0, sizeof *flow);
	flow->stage = OPEN;
	flow->sends = syn->destination_port == base_port + 2;
	flow->reply.source = syn->destination;
	flow->reply.destination = syn->source;
	flow->reply.source_port = syn->destination_port;
	flow->reply.destination_port = syn->source_port;
	flow->rcv_nxt = syn->seq + 1;
	flow->snd_nxt = flow->snd_una = 1000;
	flow->window_shift = syn->window_shift < 0 ? 0 : syn->window_shift;
	flow->window = 0;
	say(flow, SYN | ACK, NULL, 0);
}

static void finish(struct flow *flow)
{
	uint8_t answer[8];

	for (int i = 0; i < 8; i++)
		answer[i] = (uint8_t)(flow->bytes >> (8 * i));
	flow->rcv_nxt++;
	flow->stage = DONE;
	say(flow, ACK | PSH | FIN, answer, flow->sends ? 0 : sizeof answer);
}

static void arrive(struct flow *flow, const struct segment *segment)
{
	if (segment->flags & SYN) {
		open_with(flow, segment);
		return;
	}
	if (flow->stage == CLOSED || segment->source_port != flow->reply.destination_port)
		return;
	if (segment->flags & RST) {
		flow->stage = CLOSED;
		return;
	}
	if ((int32_t)(segment->ack - flow->snd_una) >= 0) {
		flow->snd_una = segment->ack;
		flow->window = (uint64_t)segment->window << flow->window_shift;
	}
	if (segment->payload > 0) {
		flow->must_ack = 1;
		if (segment->seq == flow->rcv_nxt) {
			flow->rcv_nxt += (uint32_t)segment->payload;
			flow->bytes += segment->payload;
		}
	}
	if (segment->flags & FIN && segment->seq + segment->payload == flow->rcv_nxt && flow->stage == OPEN)
		finish(flow);
}

/* Sends what the window still allows, at most a few frames; 1 when there is more to send. */
static int push(struct flow *flow)
{
	size_t piece = offload ? RUN : MSS;

	for (int i = 0; i < (offload ? 8 : 32); i++) {
		if (flow->snd_nxt - flow->snd_una + piece > flow->window)
			return 0;
		if (say(flow, ACK | PSH, payload, piece) < 0)
			return 1;
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct frame *frame = malloc(sizeof *frame);
	struct flow flows[2];
	struct pollfd waiting;
	int more = 0;

	if (argc < 3 || frame == NULL)
		return 2;
	base_port = (unsigned)strtoul(argv[2], NULL, 10);
	offload = argc > 3 && strcmp(argv[3], "--offload") == 0;
	device = open_tun(argv[1], offload);
	memset(flows, 0, sizeof flows);
	memset(payload, 'u', sizeof payload);
	printf("ready\n");
	fflush(stdout);
	waiting = (struct pollfd){ .fd = device, .events = POLLIN };
	for (;;) {
		struct segment segment;
		int awake = poll(&waiting, 1, more ? 0 : 200);

		for (int i = 0; awake > 0 && i < BATCH; i++) {
			long length = receive_frame(device, offload, frame);

			if (length < 0)
				break;
			if (parse_segment(frame->packet, (size_t)length, &segment) == 0 &&
			    (segment.destination_port == base_port + 1 || segment.destination_port == base_port + 2))
				arrive(&flows[segment.destination_port - base_port - 1], &segment);
		}
		more = 0;
		for (int i = 0; i < 2; i++) {
			struct flow *flow = &flows[i];

			if (flow->stage == OPEN && flow->sends) {
				if (awake == 0 && flow->snd_nxt != flow->snd_una && !more && flow->window > 0 &&
				    flow->snd_nxt - flow->snd_una + (offload ? RUN : MSS) > flow->window)
					flow->snd_nxt = flow->snd_una; /* silence: begin again from what is acknowledged */
				more |= push(flow);
			}
			if (flow->must_ack)
				say(flow, ACK, NULL, 0);
		}
	}
}
