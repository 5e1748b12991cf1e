/*
 * The client on the kernel's side: the same program for every subject, so that a difference
 * between two rows is a difference between two stacks. One JSON object on one line is the answer.
 *
 *   bench-client in        HOST [options]   the subject receives: bytes that it acknowledged a second
 *   bench-client out       HOST [options]   the subject sends: bytes read here a second
 *   bench-client rr        HOST [options]   1-byte round trips: p50, p90, p99
 *   bench-client connects  HOST [options]   connect, one request, close, one after the other
 *   bench-client hold      HOST [options]   many idle connections; reads "ping N" and "quit" from stdin
 *   bench-client flood     HOST [options]   SYNs from invented addresses
 *   bench-client serve     HOST [options]   the same services on the kernel's own TCP: the baseline
 */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <getopt.h>
#include <linux/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <unistd.h>

struct flow {
	int fd;
	uint64_t bytes;   /* written or read by this application */
	uint64_t at_warm; /* acknowledged (in) or read (out) when the warm-up ended */
	uint64_t at_end;
	uint32_t retransmits;
};

static uint64_t bytes_acknowledged(struct flow *flow)
{
	struct tcp_info info;
	socklen_t length = sizeof info;

	memset(&info, 0, sizeof info);
	if (getsockopt(flow->fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		die("TCP_INFO");
	flow->retransmits = info.tcpi_total_retrans;
	return info.tcpi_bytes_acked > 0 ? info.tcpi_bytes_acked - 1 : 0; /* less the SYN */
}

/* One write or read of a flow. */
static void move(struct flow *flow, char *buffer, size_t size, int outward, int flags)
{
	ssize_t moved = outward ? recv(flow->fd, buffer, size, flags) : send(flow->fd, buffer, size, flags);

	if (moved < 0 && (errno == EINTR || (errno == EAGAIN && flags == MSG_DONTWAIT)))
		return;
	if (moved < 0)
		die(outward ? "recv" : "send");
	if (moved == 0)
		fail("the subject closed in the middle of a bulk transfer");
	flow->bytes += (uint64_t)moved;
}

/* Keeps every flow busy until `until`; one flow blocks, several share one epoll. */
static void pump(struct flow *flows, unsigned count, int poller, char *buffer, size_t size, int outward, uint64_t until)
{
	struct epoll_event ready[64];

	if (count == 1) {
		while (now_ns() < until)
			move(flows, buffer, size, outward, 0);
		return;
	}
	while (now_ns() < until) {
		int awake = epoll_wait(poller, ready, 64, 100);

		for (int i = 0; i < awake; i++)
			move(ready[i].data.ptr, buffer, size, outward, MSG_DONTWAIT);
	}
}

static void mark(struct flow *flows, unsigned count, int outward, int at_end)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t acknowledged = bytes_acknowledged(&flows[i]);
		uint64_t value = outward ? flows[i].bytes : acknowledged;

		if (at_end)
			flows[i].at_end = value;
		else
			flows[i].at_warm = value;
	}
}

/* The sink says how many bytes its application read: anything but what was written is a failed run. */
static void check_sink(struct flow *flow)
{
	unsigned char answer[8];
	struct timeval patience = { .tv_sec = 30 };
	uint64_t counted = 0;

	setsockopt(flow->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	shutdown(flow->fd, SHUT_WR);
	if (read_fully(flow->fd, answer, sizeof answer) != (ssize_t)sizeof answer)
		fail("the sink did not answer with its count");
	for (int i = 7; i >= 0; i--)
		counted = counted << 8 | answer[i];
	if (counted != flow->bytes)
		fail("the sink read another number of bytes than were written");
}

static void print_bulk(const struct options *options, struct flow *flows, double seconds, int outward)
{
	double sum = 0, squares = 0;
	uint64_t retransmits = 0;

	for (unsigned i = 0; i < options->flows; i++) {
		double bytes = (double)(flows[i].at_end - flows[i].at_warm);

		sum += bytes;
		squares += bytes * bytes;
		retransmits += flows[i].retransmits;
	}
	printf("{\"mode\":\"%s\",\"flows\":%u,\"bytes\":%.0f,\"seconds\":%.6f,\"gbit\":%.6f,\"jain\":%.4f,"
	       "\"retransmits\":%llu,\"buffer\":%zu,\"congestion\":\"%s\"",
	       outward ? "out" : "in", options->flows, sum, seconds, sum * 8 / seconds / 1e9,
	       squares > 0 ? sum * sum / ((double)options->flows * squares) : 0,
	       (unsigned long long)retransmits, options->buffer, options->congestion);
	print_cpu();
	printf("}\n");
}

static int run_bulk(const struct options *options, int outward)
{
	struct flow *flows = calloc(options->flows, sizeof *flows);
	char *buffer = malloc(options->buffer);
	int poller = epoll_create1(EPOLL_CLOEXEC);
	uint64_t start, end;

	if (flows == NULL || buffer == NULL || poller < 0)
		die("memory");
	memset(buffer, 'u', options->buffer);
	for (unsigned i = 0; i < options->flows; i++) {
		struct epoll_event want = { .events = outward ? EPOLLIN : EPOLLOUT, .data.ptr = &flows[i] };
		struct timeval patience = { .tv_sec = 5 };

		flows[i].fd = open_flow(options, outward ? SERVICE_SOURCE : SERVICE_SINK);
		if (flows[i].fd < 0)
			die("connect");
		setsockopt(flows[i].fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
		setsockopt(flows[i].fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
		epoll_ctl(poller, EPOLL_CTL_ADD, flows[i].fd, &want);
	}
	start = now_ns() + (uint64_t)(options->warm_up * 1e9);
	pump(flows, options->flows, poller, buffer, options->buffer, outward, start);
	start = now_ns();
	mark(flows, options->flows, outward, 0);
	pump(flows, options->flows, poller, buffer, options->buffer, outward,
	     start + (uint64_t)(options->seconds * 1e9));
	mark(flows, options->flows, outward, 1);
	end = now_ns();
	for (unsigned i = 0; i < options->flows && !outward; i++)
		check_sink(&flows[i]);
	print_bulk(options, flows, (double)(end - start) / 1e9, outward);
	free(flows);
	free(buffer);
	return 0;
}

int run_in(const struct options *options)
{
	return run_bulk(options, 0);
}

int run_out(const struct options *options)
{
	return run_bulk(options, 1);
}

int run_round_trips(const struct options *options)
{
	uint64_t *samples = malloc(options->count * sizeof *samples);
	uint64_t warm = now_ns() + (uint64_t)(options->warm_up * 1e9);
	uint64_t until = warm + (uint64_t)(options->seconds * 1e9);
	int fd = open_flow(options, SERVICE_ECHO);
	struct timeval patience = { .tv_sec = 5 };
	size_t done = 0;
	char byte = 'u';

	if (fd < 0)
		die("connect");
	if (samples == NULL)
		die("memory");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	while (done < options->count) {
		uint64_t start = now_ns();

		if (start >= until)
			break;
		if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
			die("round trip");
		if (byte != 'u')
			fail("the echo returned another byte");
		if (start >= warm)
			samples[done++] = now_ns() - start;
	}
	if (done == 0)
		fail("no round trip was counted");
	printf("{\"mode\":\"rr\",\"count\":%zu", done);
	print_latency(samples, done);
	print_cpu();
	printf("}\n");
	free(samples);
	return 0;
}

/* One connection from SYN to FIN; 0 when the whole of it worked. */
static int one_connection(const struct options *options)
{
	char request[REQUEST_SIZE], reply[REPLY_SIZE];
	struct timeval patience = { .tv_sec = 3 };
	int fd = open_flow(options, SERVICE_REQUEST);
	int worked;

	if (fd < 0)
		return -1;
	memset(request, 'q', sizeof request);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	worked = write_fully(fd, request, sizeof request) == 0 &&
		 read_fully(fd, reply, sizeof reply) == (ssize_t)sizeof reply;
	close(fd);
	return worked ? 0 : -1;
}

int run_connects(const struct options *options)
{
	uint64_t *samples = malloc(options->count * sizeof *samples);
	uint64_t start = now_ns();
	uint64_t until = start + (uint64_t)(options->seconds * 1e9);
	size_t done = 0, failed = 0;
	double seconds;

	if (samples == NULL)
		die("memory");
	while (done < options->count && now_ns() < until) {
		uint64_t began = now_ns();

		if (one_connection(options) == 0)
			samples[done++] = now_ns() - began;
		else
			failed++;
	}
	seconds = (double)(now_ns() - start) / 1e9;
	printf("{\"mode\":\"connects\",\"count\":%zu,\"failed\":%zu,\"seconds\":%.6f,\"rate\":%.2f", done, failed,
	       seconds, (double)done / seconds);
	print_latency(samples, done);
	print_cpu();
	printf("}\n");
	free(samples);
	return 0;
}

static const struct option LONG_OPTIONS[] = {
	{ "port", required_argument, NULL, 'p' },    { "seconds", required_argument, NULL, 's' },
	{ "warm-up", required_argument, NULL, 'w' }, { "buffer", required_argument, NULL, 'b' },
	{ "flows", required_argument, NULL, 'f' },   { "count", required_argument, NULL, 'n' },
	{ "bind", required_argument, NULL, 'l' },    { "congestion", required_argument, NULL, 'c' },
	{ "device", required_argument, NULL, 'd' },  { "hardware", required_argument, NULL, 'h' },
	{ "many", no_argument, NULL, 'm' },          { NULL, 0, NULL, 0 },
};

static void take_option(struct options *options, int letter)
{
	switch (letter) {
	case 'p': options->port = (unsigned)strtoul(optarg, NULL, 10); break;
	case 's': options->seconds = strtod(optarg, NULL); break;
	case 'w': options->warm_up = strtod(optarg, NULL); break;
	case 'b': options->buffer = strtoul(optarg, NULL, 10); break;
	case 'f': options->flows = (unsigned)strtoul(optarg, NULL, 10); break;
	case 'n': options->count = strtoul(optarg, NULL, 10); break;
	case 'l': options->bind_to = optarg; break;
	case 'c': options->congestion = optarg; break;
	case 'd': options->device = optarg; break;
	case 'h': options->hardware = optarg; break;
	case 'm': options->many = 1; break;
	default: exit(2);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const struct options *);
	} modes[] = {
		{ "in", run_in },     { "out", run_out },     { "rr", run_round_trips }, { "connects", run_connects },
		{ "hold", run_hold }, { "flood", run_flood }, { "serve", run_serve },
	};
	struct options options = {
		.congestion = "cubic", .port = 7000, .seconds = 2, .warm_up = 0.3,
		.buffer = 1 << 20,     .flows = 1,   .count = 2000000,
	};
	int letter;

	signal(SIGPIPE, SIG_IGN);
	if (argc < 3)
		fail("usage: bench-client in|out|rr|connects|hold|flood|serve HOST [--port N] [--seconds S] ...");
	options.host = argv[2];
	optind = 3;
	while ((letter = getopt_long(argc, argv, "", LONG_OPTIONS, NULL)) != -1)
		take_option(&options, letter);
	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
		if (strcmp(argv[1], modes[i].name) == 0)
			return modes[i].run(&options);
	fail("no such mode");
}
