/* IPv4 and TCP headers for the ceilings: as little as a kernel on the other side needs to believe in a TCP. */
#ifndef BENCH_PACKET_H
#define BENCH_PACKET_H

#include <linux/virtio_net.h>
#include <stddef.h>
#include <stdint.h>

#define HEADERS 40
#define LARGEST_FRAME 65535

/* The header that goes before every frame when IFF_VNET_HDR is on. */
struct frame {
	struct virtio_net_hdr virtio;
	uint8_t packet[LARGEST_FRAME];
};

/* What a segment says, in host order. */
struct segment {
	uint32_t source, destination, seq, ack;
	uint16_t source_port, destination_port, window;
	uint8_t flags;
	int window_shift;  /* of a SYN, -1 when it brings none */
	size_t payload;    /* bytes */
};

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

/** open_tun - the descriptor of a TUN device that stands already; nonblocking. */
int open_tun(const char *name, int offload);

/** receive_frame - one frame; its length without the virtio header, or -1 when there is none. */
long receive_frame(int fd, int offload, struct frame *frame);

/** parse_segment - 0 when the packet is IPv4 TCP. Checksums are the kernel's own: not verified. */
int parse_segment(const uint8_t *packet, size_t length, struct segment *segment);

/**
 * send_segment - headers before `payload` bytes, as one frame.
 * @mss: 0, or with offload the size at which the kernel cuts.
 * Returns 0, or -1 when the device is full.
 */
int send_segment(int fd, int offload, const struct segment *segment, const uint8_t *payload, size_t length, size_t mss);

#endif
