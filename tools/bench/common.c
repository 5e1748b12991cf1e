#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (uint64_t)at.tv_sec * NANOSECONDS + (uint64_t)at.tv_nsec;
}

_Noreturn void die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

_Noreturn void fail(const char *what)
{
	fprintf(stderr, "bench: %s\n", what);
	exit(1);
}

struct peer resolve(const char *host, unsigned port)
{
	struct peer peer;
	struct sockaddr_in *v4 = (struct sockaddr_in *)&peer.address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&peer.address;

	memset(&peer, 0, sizeof peer);
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		peer.length = sizeof *v4;
	} else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		peer.length = sizeof *v6;
	} else {
		fail("not a numeric address");
	}
	return peer;
}

void set_congestion(int fd, const char *name)
{
	char seen[32] = "";
	socklen_t length = sizeof seen;

	if (name[0] == '\0')
		return;
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) < 0)
		die("TCP_CONGESTION");
	if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, seen, &length) < 0 || strcmp(seen, name) != 0)
		fail("the congestion control asked for was not taken");
}

int open_listener(const struct options *options, unsigned port)
{
	struct peer local = resolve(options->host, port);
	int fd = socket(local.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	set_congestion(fd, options->congestion);
	if (bind(fd, (struct sockaddr *)&local.address, local.length) < 0)
		die("bind");
	if (listen(fd, 4096) < 0)
		die("listen");
	return fd;
}

int open_flow(const struct options *options, enum service service)
{
	struct peer remote = resolve(options->host, options->port + (unsigned)service);
	int fd = socket(remote.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval patience = { .tv_sec = 3 };
	int on = 1;

	if (fd < 0)
		die("socket");
	set_congestion(fd, options->congestion);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (options->bind_to != NULL) {
		struct peer local = resolve(options->bind_to, 0);

		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
		if (bind(fd, (struct sockaddr *)&local.address, local.length) < 0)
			die("bind to the local address");
	}
	if (connect(fd, (struct sockaddr *)&remote.address, remote.length) < 0) {
		int error = errno;

		close(fd);
		errno = error == EINPROGRESS ? ETIMEDOUT : error;
		return -1;
	}
	return fd;
}

int write_fully(int fd, const void *data, size_t length)
{
	const char *at = data;

	while (length > 0) {
		ssize_t taken = write(fd, at, length);

		if (taken <= 0)
			return -1;
		at += taken;
		length -= (size_t)taken;
	}
	return 0;
}

ssize_t read_fully(int fd, void *data, size_t length)
{
	size_t have = 0;

	while (have < length) {
		ssize_t got = read(fd, (char *)data + have, length - have);

		if (got < 0)
			return -1;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

int compare_u64(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left;
	uint64_t b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

void print_latency(uint64_t *samples, size_t count)
{
	if (count == 0)
		return;
	qsort(samples, count, sizeof *samples, compare_u64);
	printf(",\"p50_ns\":%llu,\"p90_ns\":%llu,\"p99_ns\":%llu,\"max_ns\":%llu",
	       (unsigned long long)samples[count / 2], (unsigned long long)samples[count * 9 / 10],
	       (unsigned long long)samples[count * 99 / 100], (unsigned long long)samples[count - 1]);
}

void print_cpu(void)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	printf(",\"user_s\":%.3f,\"system_s\":%.3f",
	       (double)used.ru_utime.tv_sec + (double)used.ru_utime.tv_usec / 1e6,
	       (double)used.ru_stime.tv_sec + (double)used.ru_stime.tv_usec / 1e6);
}
