/*
 * An emulated link (P9): packets from one TUN device come out of the other after a rate, a delay, losses and a little
 * reordering, all from seeds. In user space because many kernels are built without netem, and because the same seed
 * then loses the same packets for everybody.
 *
 *   bench-link LEFT RIGHT-NAMESPACE RIGHT --rate MBIT --delay MS --loss PERCENT --reorder PERCENT --limit PACKETS --seed N
 *
 * LEFT stands in the namespace that the program starts in, RIGHT in that of the path (/proc/PID/ns/net). Loss and
 * reordering touch the direction from LEFT to RIGHT, where the data goes; the way back only has the rate and the delay.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS 1000000000ULL
#define LARGEST 2048

struct parcel {
	uint64_t due;
	uint64_t order; /* of those due at the same instant */
	uint16_t length;
	uint8_t bytes[LARGEST];
};

struct direction {
	int from, to;
	uint64_t free_at; /* when the wire has sent what was given to it */
	uint64_t queued;  /* packets that wait for the wire */
	struct parcel **heap;
	size_t count, room;
	uint64_t random;
	double loss, reorder;
	uint64_t carried, lost, overflowed, reordered;
};

static double rate = 100e6 / 8 / 1e9; /* bytes a nanosecond */
static uint64_t delay = 20000000;
static uint64_t limit = 1000;
static uint64_t orders;
static volatile sig_atomic_t ended;

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (uint64_t)at.tv_sec * NANOSECONDS + (uint64_t)at.tv_nsec;
}

/* 0 <= x < 1, splitmix64. */
static double chance(struct direction *way)
{
	uint64_t z = way->random += 0x9E3779B97F4A7C15ULL;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ULL;
	z = (z ^ z >> 27) * 0x94D049BB133111EBULL;
	z ^= z >> 31;
	return (double)(z >> 11) / 9007199254740992.0;
}

static int before(const struct parcel *a, const struct parcel *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void put(struct direction *way, struct parcel *parcel)
{
	size_t at;

	if (way->count == way->room) {
		way->room = way->room ? way->room * 2 : 1024;
		way->heap = realloc(way->heap, way->room * sizeof *way->heap);
		if (way->heap == NULL)
			die("memory");
	}
	at = way->count++;
	while (at > 0 && before(parcel, way->heap[(at - 1) / 2])) {
		way->heap[at] = way->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	way->heap[at] = parcel;
}

static struct parcel *take(struct direction *way)
{
	struct parcel *first = way->heap[0], *last = way->heap[--way->count];
	size_t at = 0;

	for (;;) {
		size_t child = at * 2 + 1;

		if (child >= way->count)
			break;
		if (child + 1 < way->count && before(way->heap[child + 1], way->heap[child]))
			child++;
		if (!before(way->heap[child], last))
			break;
		way->heap[at] = way->heap[child];
		at = child;
	}
	if (way->count > 0)
		way->heap[at] = last;
	return first;
}

/* Takes what has arrived: the queue before the wire holds `limit` packets, then it drops the newest. */
static void admit(struct direction *way, uint64_t now)
{
	for (int i = 0; i < 256; i++) {
		struct parcel *parcel = malloc(sizeof *parcel);
		ssize_t length;

		if (parcel == NULL)
			die("memory");
		length = read(way->from, parcel->bytes, sizeof parcel->bytes);
		if (length <= 0) {
			free(parcel);
			return;
		}
		if (way->free_at < now)
			way->free_at = now;
		if ((double)(way->free_at - now) * rate > (double)limit * 1500) {
			way->overflowed++;
			free(parcel);
			continue;
		}
		way->free_at += (uint64_t)((double)length / rate);
		if (way->loss > 0 && chance(way) < way->loss) {
			way->lost++;
			free(parcel);
			continue;
		}
		parcel->length = (uint16_t)length;
		parcel->due = way->free_at + delay;
		parcel->order = orders++;
		if (way->reorder > 0 && chance(way) < way->reorder) {
			parcel->due += 3000000; /* three milliseconds late: behind some twenty packets at 100 Mbit/s */
			way->reordered++;
		}
		put(way, parcel);
	}
}

static void deliver(struct direction *way, uint64_t now)
{
	while (way->count > 0 && way->heap[0]->due <= now) {
		struct parcel *parcel = take(way);

		if (write(way->to, parcel->bytes, parcel->length) == parcel->length)
			way->carried++;
		free(parcel);
	}
}

static int open_tun(const char *name)
{
	struct ifreq request;
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	memset(&request, 0, sizeof request);
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
	request.ifr_flags = IFF_TUN | IFF_NO_PI;
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
		die(name);
	return fd;
}

static void stop(int number)
{
	(void)number;
	ended = 1;
}

static uint64_t soonest(const struct direction *ways)
{
	uint64_t first = UINT64_MAX;

	for (int i = 0; i < 2; i++)
		if (ways[i].count > 0 && ways[i].heap[0]->due < first)
			first = ways[i].heap[0]->due;
	return first;
}

int main(int argc, char **argv)
{
	static const struct option names[] = {
		{ "rate", 1, NULL, 'r' },    { "delay", 1, NULL, 'd' }, { "loss", 1, NULL, 'l' },
		{ "reorder", 1, NULL, 'o' }, { "limit", 1, NULL, 'q' }, { "seed", 1, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	struct direction ways[2];
	struct pollfd waiting[2];
	double loss = 0, reorder = 0;
	uint64_t seed = 1;
	int letter, left, right, space;

	if (argc < 4)
		return 2;
	optind = 4;
	while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (letter) {
		case 'r': rate = strtod(optarg, NULL) * 1e6 / 8 / 1e9; break;
		case 'd': delay = (uint64_t)(strtod(optarg, NULL) * 1e6); break;
		case 'l': loss = strtod(optarg, NULL) / 100; break;
		case 'o': reorder = strtod(optarg, NULL) / 100; break;
		case 'q': limit = strtoull(optarg, NULL, 10); break;
		case 's': seed = strtoull(optarg, NULL, 10); break;
		default: return 2;
		}
	}
	left = open_tun(argv[1]);
	space = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (space < 0 || setns(space, CLONE_NEWNET) < 0)
		die(argv[2]);
	right = open_tun(argv[3]);
	memset(ways, 0, sizeof ways);
	ways[0] = (struct direction){ .from = left, .to = right, .random = seed, .loss = loss, .reorder = reorder };
	ways[1] = (struct direction){ .from = right, .to = left, .random = ~seed };
	signal(SIGTERM, stop);
	printf("ready\n");
	fflush(stdout);
	while (!ended) {
		uint64_t due = soonest(ways), now = now_ns();
		struct timespec pause = { .tv_sec = 1 };

		if (due != UINT64_MAX) {
			uint64_t left_ns = due > now ? due - now : 0;

			pause = (struct timespec){ (time_t)(left_ns / NANOSECONDS), (long)(left_ns % NANOSECONDS) };
		}
		waiting[0] = (struct pollfd){ .fd = left, .events = POLLIN };
		waiting[1] = (struct pollfd){ .fd = right, .events = POLLIN };
		ppoll(waiting, 2, &pause, NULL);
		now = now_ns();
		for (int i = 0; i < 2; i++) {
			if (waiting[i].revents & POLLIN)
				admit(&ways[i], now);
			deliver(&ways[i], now);
		}
	}
	printf("{\"carried\":%llu,\"lost\":%llu,\"overflowed\":%llu,\"reordered\":%llu,\"back\":%llu}\n",
	       (unsigned long long)ways[0].carried, (unsigned long long)ways[0].lost,
	       (unsigned long long)ways[0].overflowed, (unsigned long long)ways[0].reordered,
	       (unsigned long long)ways[1].carried);
	return 0;
}
