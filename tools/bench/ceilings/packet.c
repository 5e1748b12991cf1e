#define _GNU_SOURCE
#include "packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

int open_tun(const char *name, int offload)
{
	struct ifreq request;
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	memset(&request, 0, sizeof request);
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
	request.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | (offload ? IFF_VNET_HDR : 0));
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
		perror("tun");
		exit(1);
	}
	if (offload && ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0) {
		perror("TUNSETOFFLOAD");
		exit(1);
	}
	return fd;
}

long receive_frame(int fd, int offload, struct frame *frame)
{
	size_t ahead = offload ? sizeof frame->virtio : 0;
	ssize_t got = read(fd, offload ? (uint8_t *)frame : frame->packet, ahead + LARGEST_FRAME);

	return got < (ssize_t)ahead ? -1 : got - (ssize_t)ahead;
}

static uint32_t load32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof value);
	return ntohl(value);
}

static uint16_t load16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void store32(uint8_t *at, uint32_t value)
{
	value = htonl(value);
	memcpy(at, &value, sizeof value);
}

static void store16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static int find_window_shift(const uint8_t *option, const uint8_t *end)
{
	while (option < end && option[0] != 0) {
		if (option[0] == 1) {
			option++;
			continue;
		}
		if (option + 1 >= end || option[1] < 2)
			return -1;
		if (option[0] == 3 && option + 2 < end)
			return option[2];
		option += option[1];
	}
	return -1;
}

int parse_segment(const uint8_t *packet, size_t length, struct segment *segment)
{
	size_t ip = (size_t)(packet[0] & 15) * 4, tcp;

	if (length < HEADERS || packet[0] >> 4 != 4 || packet[9] != 6)
		return -1;
	tcp = (size_t)(packet[ip + 12] >> 4) * 4;
	if (ip + tcp > length)
		return -1;
	segment->source = load32(packet + 12);
	segment->destination = load32(packet + 16);
	segment->source_port = load16(packet + ip);
	segment->destination_port = load16(packet + ip + 2);
	segment->seq = load32(packet + ip + 4);
	segment->ack = load32(packet + ip + 8);
	segment->flags = packet[ip + 13];
	segment->window = load16(packet + ip + 14);
	segment->payload = length - ip - tcp;
	segment->window_shift = segment->flags & SYN ? find_window_shift(packet + ip + 20, packet + ip + tcp) : -1;
	return 0;
}

/* Ones' complement sum by eight bytes at a time, in the machine's order: RFC 1071 section 2 (B) and (3). */
static uint32_t sum_bytes(const uint8_t *data, size_t length, uint64_t sum)
{
	while (length >= 8) {
		uint64_t word;

		memcpy(&word, data, 8);
		sum += word;
		sum += sum < word;
		data += 8;
		length -= 8;
	}
	if (length > 0) {
		uint64_t word = 0;

		memcpy(&word, data, length);
		sum += word;
		sum += sum < word;
	}
	sum = (sum >> 32) + (sum & 0xFFFFFFFF);
	sum = (sum >> 32) + (sum & 0xFFFFFFFF);
	sum = (sum >> 16) + (sum & 0xFFFF);
	sum = (sum >> 16) + (sum & 0xFFFF);
	return (uint32_t)((sum >> 16) + (sum & 0xFFFF));
}

int send_segment(int fd, int offload, const struct segment *segment, const uint8_t *payload, size_t length, size_t mss)
{
	struct virtio_net_hdr virtio = { 0 };
	uint8_t packet[HEADERS + 8] = { 0 };
	uint8_t pseudo[12] = { 0 };
	size_t options = segment->flags & SYN ? 8 : 0;
	size_t tcp = 20 + options;
	uint16_t sum;
	uint32_t partial;
	struct iovec parts[3];

	packet[0] = 0x45;
	store16(packet + 2, (uint16_t)(20 + tcp + length));
	packet[6] = 0x40;
	packet[8] = 64;
	packet[9] = 6;
	store32(packet + 12, segment->source);
	store32(packet + 16, segment->destination);
	sum = (uint16_t)~sum_bytes(packet, 20, 0);
	memcpy(packet + 10, &sum, 2);
	store16(packet + 20, segment->source_port);
	store16(packet + 22, segment->destination_port);
	store32(packet + 24, segment->seq);
	store32(packet + 28, segment->ack);
	packet[32] = (uint8_t)(tcp / 4 << 4);
	packet[33] = segment->flags;
	store16(packet + 34, segment->window);
	if (options > 0)
		memcpy(packet + 40, "\x02\x04\x05\xb4\x03\x03\x0e\x01", 8); /* MSS 1460, window scale 14 */
	memcpy(pseudo, packet + 12, 8);
	pseudo[9] = 6;
	store16(pseudo + 10, (uint16_t)(tcp + length));
	partial = sum_bytes(pseudo, sizeof pseudo, 0);
	if (offload) {
		sum = (uint16_t)partial;
		virtio.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		virtio.csum_start = 20;
		virtio.csum_offset = 16;
		virtio.hdr_len = (uint16_t)(20 + tcp);
		if (mss > 0 && length > mss) {
			virtio.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
			virtio.gso_size = (uint16_t)mss;
		}
	} else {
		sum = (uint16_t)~sum_bytes(payload, length, sum_bytes(packet + 20, tcp, partial));
	}
	memcpy(packet + 36, &sum, 2);
	parts[0] = (struct iovec){ &virtio, sizeof virtio };
	parts[1] = (struct iovec){ packet, 20 + tcp };
	parts[2] = (struct iovec){ (void *)(uintptr_t)payload, length };
	return writev(fd, offload ? parts : parts + 1, offload ? 3 : 2) < 0 ? -1 : 0;
}
