/* What the benchmark's C programs share: sockets that are set up alike, one clock, one way to die. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

/* The services of a subject, as offsets from its base port. Every subject serves the same. */
enum service {
	SERVICE_SINK = 1,    /* reads to the end, answers the byte count (8 bytes, little endian), closes */
	SERVICE_SOURCE = 2,  /* sends until the peer goes away */
	SERVICE_ECHO = 3,    /* sends back what it reads */
	SERVICE_REQUEST = 4, /* answers REPLY_SIZE bytes to each REQUEST_SIZE bytes, closes at end of file */
	SERVICE_HTTP = 80,   /* answers a fixed page to each head, keeps the connection */
};

#define REQUEST_SIZE 64
#define REPLY_SIZE 128
#define NANOSECONDS 1000000000ULL

struct peer {
	struct sockaddr_storage address;
	socklen_t length;
};

/* The options that every mode understands; a mode reads those that it needs. */
struct options {
	const char *host;
	const char *bind_to;       /* local address, or NULL */
	const char *congestion;    /* "cubic" unless told; "" leaves the machine's default */
	const char *device;        /* flood: the interface that frames leave by */
	const char *hardware;      /* flood: the next hop's MAC, or NULL for a device without any */
	unsigned port;             /* base port: the service's number is added */
	double seconds;            /* measured time, after the warm-up */
	double warm_up;            /* seconds that are not counted */
	size_t buffer;             /* bytes for one read or write of the application */
	unsigned flows;
	unsigned long count;       /* hold: connections; rr: most round trips; flood: SYNs a second, 0 = all it can */
	int many;                  /* serve: epoll over many connections instead of one blocking at a time */
};

/** now_ns - CLOCK_MONOTONIC in nanoseconds. */
uint64_t now_ns(void);

/** die - message with errno on stderr as one line, exit status 1. */
_Noreturn void die(const char *what);

/** fail - message without errno, exit status 1. */
_Noreturn void fail(const char *what);

/** resolve - a numeric address of either version and a port. Dies when it is no address. */
struct peer resolve(const char *host, unsigned port);

/** set_congestion - CUBIC (or what was asked) on this socket, checked by reading it back. */
void set_congestion(int fd, const char *name);

/** open_listener - a listening socket on host:port with the congestion control set; accepted ones inherit it. */
int open_listener(const struct options *options, unsigned port);

/** open_flow - a blocking connected socket to the service; -1 with errno when the peer refuses or is silent for 3 s. */
int open_flow(const struct options *options, enum service service);

/** write_fully / read_fully - all of it or -1; read_fully returns what came before the end of file. */
int write_fully(int fd, const void *data, size_t length);
ssize_t read_fully(int fd, void *data, size_t length);

/** compare_u64 - for qsort. */
int compare_u64(const void *left, const void *right);

/** print_latency - "p50_ns":..., of samples, which get sorted in place. */
void print_latency(uint64_t *samples, size_t count);

/** print_cpu - the process's own processor time, so that a figure can be doubted with numbers. */
void print_cpu(void);

int run_in(const struct options *options);
int run_out(const struct options *options);
int run_round_trips(const struct options *options);
int run_connects(const struct options *options);
int run_hold(const struct options *options);
int run_flood(const struct options *options);
int run_serve(const struct options *options);

#endif
