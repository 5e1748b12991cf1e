/*
 * SYNs from invented addresses (10.64.0.0/10), straight into a device of the benchmark's own namespace, to see
 * what a listener does under a flood (P10). It refuses any destination that is not 10.0.0.0/8, and stops by itself.
 */
#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define LONGEST_SECONDS 30

struct syn {
	struct iphdr ip;
	struct tcphdr tcp;
	uint8_t options[4]; /* MSS 1460 */
} __attribute__((packed));

static uint32_t add_words(const void *data, size_t length, uint32_t sum)
{
	const uint8_t *byte = data;

	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)(byte[i] << 8 | byte[i + 1]);
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xFFFF) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void forge(struct syn *syn, uint32_t destination, unsigned port, uint64_t random)
{
	uint32_t pseudo;

	memset(syn, 0, sizeof *syn);
	syn->ip.version = 4;
	syn->ip.ihl = 5;
	syn->ip.tot_len = htons(sizeof *syn);
	syn->ip.ttl = 64;
	syn->ip.protocol = IPPROTO_TCP;
	syn->ip.saddr = htonl(0x0A400000U | (uint32_t)(random & 0x003FFFFFU));
	syn->ip.daddr = destination;
	syn->ip.check = fold(add_words(&syn->ip, sizeof syn->ip, 0));
	syn->tcp.source = htons((uint16_t)(1024 + (random >> 24) % 60000));
	syn->tcp.dest = htons((uint16_t)port);
	syn->tcp.seq = (uint32_t)(random >> 32);
	syn->tcp.doff = sizeof(struct tcphdr) / 4 + 1;
	syn->tcp.syn = 1;
	syn->tcp.window = htons(64240);
	memcpy(syn->options, "\x02\x04\x05\xb4", 4);
	pseudo = add_words(&syn->ip.saddr, 8, IPPROTO_TCP + sizeof syn->tcp + sizeof syn->options);
	syn->tcp.check = fold(add_words(&syn->tcp, sizeof syn->tcp + sizeof syn->options, pseudo));
}

static struct sockaddr_ll link_address(const struct options *options)
{
	struct sockaddr_ll link = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
	unsigned byte[6];

	link.sll_ifindex = (int)if_nametoindex(options->device);
	if (link.sll_ifindex == 0)
		die("flood: device");
	if (options->hardware != NULL) {
		if (sscanf(options->hardware, "%x:%x:%x:%x:%x:%x", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4], &byte[5]) != 6)
			fail("flood: not a hardware address");
		link.sll_halen = 6;
		for (int i = 0; i < 6; i++)
			link.sll_addr[i] = (unsigned char)byte[i];
	}
	return link;
}

/* Sleeps until the pace allows another batch; a pace of 0 never sleeps. */
static void keep_pace(uint64_t start, uint64_t sent, unsigned long pace)
{
	uint64_t due = pace ? start + sent * NANOSECONDS / pace : 0;
	uint64_t now = now_ns();

	if (due > now) {
		struct timespec pause = { .tv_nsec = (long)(due - now < 100000000 ? due - now : 100000000) };

		nanosleep(&pause, NULL);
	}
}

int run_flood(const struct options *options)
{
	struct peer target = resolve(options->host, 0);
	uint32_t destination = ((struct sockaddr_in *)&target.address)->sin_addr.s_addr;
	struct sockaddr_ll link;
	struct syn syns[BATCH];
	struct iovec parts[BATCH];
	struct mmsghdr messages[BATCH];
	uint64_t random = 0x9E3779B97F4A7C15ULL, sent = 0, refused = 0, start = now_ns();
	double seconds = options->seconds < LONGEST_SECONDS ? options->seconds : LONGEST_SECONDS;
	int fd, on = 1;

	if (target.address.ss_family != AF_INET || (ntohl(destination) >> 24) != 10 || options->device == NULL)
		fail("flood: only --device of this namespace, only to 10.0.0.0/8");
	link = link_address(options);
	fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("flood: socket");
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
	memset(messages, 0, sizeof messages);
	for (int i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){ &syns[i], sizeof syns[i] };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &link, .msg_namelen = sizeof link, .msg_iov = &parts[i], .msg_iovlen = 1 };
	}
	while (now_ns() - start < (uint64_t)(seconds * 1e9)) {
		int taken;

		for (int i = 0; i < BATCH; i++) {
			random = random * 6364136223846793005ULL + 1442695040888963407ULL;
			forge(&syns[i], destination, options->port + SERVICE_REQUEST, random ^ random >> 29);
		}
		taken = sendmmsg(fd, messages, BATCH, 0);
		if (taken > 0)
			sent += (uint64_t)taken;
		else
			refused++; /* the device's queue is full: offer again */
		keep_pace(start, sent, options->count);
	}
	printf("{\"mode\":\"flood\",\"sent\":%llu,\"refused_batches\":%llu,\"rate\":%.0f}\n", (unsigned long long)sent,
	       (unsigned long long)refused, (double)sent / seconds);
	return 0;
}
