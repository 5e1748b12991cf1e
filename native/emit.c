/* Headers of what leaves. */
#include "core.h"

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/**
 * us_transmit_is_v4() - whether the addresses are IPv4, v4-mapped.
 * @transmit: what leaves.
 */
int us_transmit_is_v4(const struct us_transmit *transmit)
{
    return memcmp(transmit->source, v4_prefix, sizeof v4_prefix) == 0;
}

/**
 * us_headers_length() - of IP and TCP header together.
 * @transmit: what leaves.
 */
uint32_t us_headers_length(const struct us_transmit *transmit)
{
    return (us_transmit_is_v4(transmit) ? 20U : 40U) + 20U + transmit->options_length;
}

/**
 * us_transmit_check() - whether a record may leave at all.
 * @transmit: what leaves.
 *
 * Return: 1 when it may.
 */
int us_transmit_check(const struct us_transmit *transmit)
{
    if (transmit->kind == US_TRANSMIT_RAW)
        return transmit->length > 0 && transmit->length <= US_PACKET_MAX && transmit->data;
    if (transmit->kind != US_TRANSMIT_TCP || transmit->options_length > 40 || transmit->options_length % 4)
        return 0;
    if (us_transmit_is_v4(transmit) != (memcmp(transmit->destination, v4_prefix, sizeof v4_prefix) == 0))
        return 0;
    if (transmit->length == 0)
        return 1;
    if (transmit->ring)
        return us_ring_keeps((struct us_ring *)(uintptr_t)transmit->ring, transmit->at, transmit->length);
    return transmit->data != 0;
}

/**
 * us_transmits() - the records of a buffer, ready to be used: what they carry is found by its address from here on.
 * @records: aligned as malloc() aligns; the payloads that they carry stand behind them.
 * @count: of records.
 */
struct us_transmit *us_transmits(uint8_t *records, uint32_t count)
{
    struct us_transmit *transmits = (struct us_transmit *)(void *)records;
    uint32_t n;

    for (n = 0; n < count; n++)
        if (transmits[n].data)
            transmits[n].data += (uint64_t)(uintptr_t)records;
    return transmits;
}

/**
 * us_pseudo_sum() - of the pseudo-header, RFC 9293 section 3.1 and RFC 8200 section 8.1.
 * @transmit: what leaves.
 * @tcp_length: of TCP header and text.
 */
uint64_t us_pseudo_sum(const struct us_transmit *transmit, uint32_t tcp_length)
{
    uint8_t tail[4];

    us_store16(tail, tcp_length);
    us_store16(tail + 2, US_PROTOCOL_TCP);
    if (us_transmit_is_v4(transmit))
        return us_sum(transmit->source + 12, 4) + us_sum(transmit->destination + 12, 4) + us_sum(tail, 4);
    return us_sum(transmit->source, 16) + us_sum(transmit->destination, 16) + us_sum(tail, 4);
}

/**
 * emit_ipv4() - RFC 791 section 3.1.
 * @out: 20 bytes.
 * @transmit: what leaves.
 * @total: of the packet.
 * @segs_before: segments of this record that left before: the identification counts them.
 */
static void emit_ipv4(uint8_t *out, const struct us_transmit *transmit, uint32_t total, uint32_t segs_before)
{
    uint16_t sum;

    out[0] = 0x45;
    out[1] = transmit->tos;
    us_store16(out + 2, total);
    us_store16(out + 4, transmit->identification + segs_before);
    us_store16(out + 6, transmit->dont_fragment ? 0x4000 : 0);
    out[8] = transmit->ttl;
    out[9] = US_PROTOCOL_TCP;
    memset(out + 10, 0, 2);
    memcpy(out + 12, transmit->source + 12, 4);
    memcpy(out + 16, transmit->destination + 12, 4);
    sum = (uint16_t)~us_fold(us_sum(out, 20));
    memcpy(out + 10, &sum, sizeof sum);
}

/**
 * emit_ipv6() - RFC 8200 section 3.
 * @out: 40 bytes.
 * @transmit: what leaves.
 * @payload: bytes behind the header.
 */
static void emit_ipv6(uint8_t *out, const struct us_transmit *transmit, uint32_t payload)
{
    us_store32(out, 6U << 28 | (uint32_t)transmit->tos << 20 | (transmit->flow_label & 0xfffff));
    us_store16(out + 4, payload);
    out[6] = US_PROTOCOL_TCP;
    out[7] = transmit->ttl;
    memcpy(out + 8, transmit->source, 16);
    memcpy(out + 24, transmit->destination, 16);
}

/**
 * us_emit_headers() - IP and TCP header of one part of a record; the TCP checksum stays zero.
 * @out: us_headers_length() bytes.
 * @transmit: what leaves.
 * @done: payload bytes that lie before this part.
 * @length: payload bytes of this part.
 * @segs_before: wire segments that lie before this part.
 *
 * FIN and PSH go with the last byte, CWR with the first.
 */
void us_emit_headers(uint8_t *out, const struct us_transmit *transmit, uint32_t done, uint32_t length,
                     uint32_t segs_before)
{
    uint32_t tcp_length = 20U + transmit->options_length;
    uint32_t flags = transmit->flags & 0xfff;

    if (us_transmit_is_v4(transmit)) {
        emit_ipv4(out, transmit, 20U + tcp_length + length, segs_before);
        out += 20;
    } else {
        emit_ipv6(out, transmit, tcp_length + length);
        out += 40;
    }
    if (done)
        flags &= ~US_CWR;
    if (done + length < transmit->length)
        flags &= ~(US_FIN | US_PSH);
    us_store16(out, transmit->source_port);
    us_store16(out + 2, transmit->destination_port);
    us_store32(out + 4, transmit->seq + done);
    us_store32(out + 8, transmit->ack);
    us_store16(out + 12, tcp_length / 4 << 12 | flags);
    us_store16(out + 14, transmit->window);
    us_store16(out + 16, 0);
    us_store16(out + 18, transmit->urgent);
    memcpy(out + 20, transmit->options, transmit->options_length);
}
