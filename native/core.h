/*
 * What the files of the C core share. No file here keeps state of its own: everything lives in the
 * records of cdef.h, and the caller owns them.
 */
#ifndef USTACK_CORE_H
#define USTACK_CORE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cdef.h"

#define US_VNET_LENGTH 10U         /* struct virtio_net_hdr, without num_buffers */
#define US_PACKET_MAX 65535U       /* RFC 791, RFC 8200 section 4.5: no jumbograms */
#define US_HEADER_MAX (40U + 60U)  /* IPv6 and the longest TCP header */
#define US_RUN_TABLE 1024U         /* places for open runs; a power of two */
#define US_RUN_PROBES 8U           /* a crowd of colliding flows costs no more than this each */
#define US_NO_PIECE UINT32_MAX
#define US_SPANS 6U                /* stretches of memory that the text of one frame may lie in */
#define US_BLOCK_MIN 4096U         /* bytes: the least that a ring takes */

#define US_PROTOCOL_ICMP 1
#define US_PROTOCOL_TCP 6
#define US_PROTOCOL_UDP 17
#define US_PROTOCOL_ICMPV6 58

/* virtio 1.2 section 5.1.6: what a super-frame is made of */
#define US_GSO_NONE 0U
#define US_GSO_TCPV4 1U
#define US_GSO_TCPV6 4U

#define US_FIN 0x001U
#define US_SYN 0x002U
#define US_RST 0x004U
#define US_PSH 0x008U
#define US_ACK 0x010U
#define US_URG 0x020U
#define US_ECE 0x040U
#define US_CWR 0x080U

_Static_assert(sizeof(struct us_descriptor) == 96, "frame.DESCRIPTOR is 96 bytes");
_Static_assert(sizeof(struct us_transmit) == 144, "native.TRANSMIT is 144 bytes");
_Static_assert(sizeof(((struct us_receiver *)0)->open_runs) == US_RUN_TABLE * sizeof(struct us_open_run),
               "cdef.h spells the table's size out");
_Static_assert(sizeof(((struct us_receiver *)0)->apart) == US_APART_COUNT * sizeof(uint64_t),
               "cdef.h spells the count of reasons out");

static inline uint16_t us_load16(const uint8_t *at)
{
    return (uint16_t)((at[0] << 8) | at[1]);
}

static inline uint32_t us_load32(const uint8_t *at)
{
    return ((uint32_t)at[0] << 24) | ((uint32_t)at[1] << 16) | ((uint32_t)at[2] << 8) | at[3];
}

static inline void us_store16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void us_store32(uint8_t *at, uint32_t value)
{
    us_store16(at, value >> 16);
    us_store16(at + 2, value);
}

/* What the virtio header of one frame says; zeros without one. */
struct us_vnet {
    int vouched;            /* the transport checksum need not be verified */
    uint8_t gso_type;       /* VIRTIO_NET_HDR_GSO_*, without the ECN bit */
    uint16_t gso_size;
};

/* One wire packet, or one super-frame, on its way out: headers and the stretches of its payload, empty ones last. */
struct us_outgoing {
    uint8_t headers[US_VNET_LENGTH + US_HEADER_MAX];
    uint32_t headers_length;
    struct us_span payload[US_SPANS];
    uint32_t payload_length;
    uint32_t segs;
};

/* checksum.c */
uint64_t us_sum(const uint8_t *data, size_t length);
uint16_t us_fold(uint64_t sum);
uint64_t us_sum_spans(const struct us_span *spans);

/* vnet.c */
int us_vnet_read(const uint8_t *frame, size_t length, struct us_vnet *out);
void us_vnet_write(uint8_t *out, const struct us_transmit *transmit, uint32_t ip_length, uint32_t headers_length,
                   int is_cut);

/* parse.c */
int us_parse(const uint8_t *packet, size_t length, int vouched, struct us_descriptor *out, uint32_t *payload_at);

/* gro.c */
void us_gro_begin(struct us_receiver *receiver);
int us_take_frame(struct us_receiver *receiver, uint32_t offset, uint32_t length, unsigned int mode);
int us_piece_valid(const struct us_receiver *receiver, uint32_t handle);

/* pool.c */
struct us_pool *us_pool_hold(struct us_pool *pool);
int us_pool_spend(struct us_pool *pool);
void *us_pool_alloc(struct us_pool *pool, uint64_t size, uint64_t own, int force);
void us_pool_free(struct us_pool *pool, void *memory, uint64_t size);
int us_pool_charge(struct us_pool *pool, uint64_t size, uint64_t own);
void us_pool_uncharge(struct us_pool *pool, uint64_t size);

/* window.c */
struct us_block *us_block_new(const struct us_ring *ring, uint64_t size, int force);
uint64_t us_ring_top(const struct us_ring *ring);
void us_ring_locate(const struct us_ring *ring, uint64_t at, uint64_t length, struct us_span *spans);
void us_ring_move(struct us_ring *ring, struct us_block *block, uint64_t kept);
int us_ring_reserve(struct us_ring *ring, uint64_t upto, int force);

/* deferred.c, above window.c; ring.c and place.c stand above both, and do not know each other */
int us_source_skip(struct us_source *from, uint64_t count);
int us_source_copy(struct us_source *from, uint8_t *out, uint64_t count);
int us_source_fill(struct us_ring *ring, uint64_t at, uint64_t count, struct us_source *from);
int us_ring_defer(struct us_ring *ring, uint64_t length, const struct us_source *from);
uint64_t us_ring_read_deferred(struct us_ring *ring, uint8_t *out, uint64_t length);

/* loan.c */
uint64_t us_ring_used(const struct us_ring *ring);
void us_ring_let_go(struct us_ring *ring, uint64_t upto);
int us_ring_keeps(const struct us_ring *ring, uint64_t at, uint64_t length);
void us_ring_gather(struct us_ring *ring, uint64_t at, uint64_t length, struct us_span *spans);

/* emit.c */
int us_transmit_check(const struct us_transmit *transmit);
int us_transmit_is_v4(const struct us_transmit *transmit);
uint32_t us_headers_length(const struct us_transmit *transmit);
void us_emit_headers(uint8_t *out, const struct us_transmit *transmit, uint32_t done, uint32_t length,
                     uint32_t segs_before);
uint64_t us_pseudo_sum(const struct us_transmit *transmit, uint32_t tcp_length);
struct us_transmit *us_transmits(uint8_t *records, uint32_t count);

/* gso.c */
uint32_t us_cut_length(const struct us_transmit *transmit, int offload);
int us_next_outgoing(const struct us_transmit *transmit, unsigned int mode, struct us_outgoing *out);

#endif
