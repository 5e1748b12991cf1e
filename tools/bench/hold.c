/*
 * Many idle connections (P7), and round trips over all of them in a scattered order (P8).
 * Says {"mode":"hold","held":N} when they stand; then "ping N" on stdin is answered with a line, "quit" ends it.
 */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

static void raise_limit(unsigned long wanted)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = wanted;
	if (limit.rlim_max < wanted)
		limit.rlim_max = wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("RLIMIT_NOFILE");
}

static void ping(const int *fds, size_t held, unsigned long count)
{
	uint64_t *samples = malloc(count * sizeof *samples);
	uint64_t start = now_ns();
	uint64_t state = 88172645463325252ULL;
	double seconds;

	if (samples == NULL)
		die("memory");
	for (unsigned long i = 0; i < count; i++) {
		uint64_t began = now_ns();
		char byte = 'u';
		int fd;

		state ^= state << 13; /* xorshift64 (Marsaglia 2003): the same order in every run */
		state ^= state >> 7;
		state ^= state << 17;
		fd = fds[state % held];
		if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
			die("ping");
		samples[i] = now_ns() - began;
	}
	seconds = (double)(now_ns() - start) / 1e9;
	printf("{\"mode\":\"ping\",\"count\":%lu,\"seconds\":%.6f", count, seconds);
	print_latency(samples, count);
	printf("}\n");
	fflush(stdout);
	free(samples);
}

int run_hold(const struct options *options)
{
	int *fds = malloc(options->count * sizeof *fds);
	struct timeval patience = { .tv_sec = 10 };
	char line[64];
	size_t held;

	if (fds == NULL)
		die("memory");
	raise_limit(options->count + 64);
	for (held = 0; held < options->count; held++) {
		fds[held] = open_flow(options, SERVICE_ECHO);
		if (fds[held] < 0) {
			fprintf(stderr, "bench: hold: connection %zu: %s\n", held, strerror(errno));
			break;
		}
		setsockopt(fds[held], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	}
	printf("{\"mode\":\"hold\",\"held\":%zu}\n", held);
	fflush(stdout);
	while (held > 0 && fgets(line, sizeof line, stdin) != NULL) {
		unsigned long count = 0;

		if (sscanf(line, "ping %lu", &count) == 1 && count > 0)
			ping(fds, held, count);
		else
			break;
	}
	free(fds);
	return 0;
}
