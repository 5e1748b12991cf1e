/* Bytes to a descriptor: IPv4, IPv6 and TCP headers, every length checked before it is used. */
#include "core.h"

#define EXTENSIONS_MAX 8 /* RFC 8504 section 5.3 lets a host bound the chain */

/* An IP packet taken apart: where its transport starts, and what it is. */
struct inner {
    const uint8_t *packet;
    uint32_t length;      /* of the IP packet, without trailing bytes */
    uint32_t at;          /* of the transport header */
    int protocol;         /* -1: nothing that this file looks into */
    uint64_t pseudo;      /* sum of the addresses */
};

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/**
 * parse_ipv4() - RFC 791 section 3.1.
 * @in: packet and frame length set; the rest is filled.
 * @out: tos, ttl and the addresses of the key are filled.
 *
 * Return: 0 or a reason.
 */
static int parse_ipv4(struct inner *in, struct us_descriptor *out)
{
    const uint8_t *ip = in->packet;
    uint32_t header, total, sum;

    if (in->length < 20)
        return US_DROP_IP_TRUNCATED;
    header = (uint32_t)(ip[0] & 15) * 4;
    total = us_load16(ip + 2);
    out->tos = ip[1];
    out->ttl = ip[8];
    memcpy(out->key, v4_prefix, 12);
    memcpy(out->key + 12, ip + 12, 4);
    memcpy(out->key + 16, v4_prefix, 12);
    memcpy(out->key + 28, ip + 16, 4);
    if (header < 20 || header > in->length)
        return US_DROP_IP_HEADER_LENGTH;
    if (total < header || total > in->length)
        return US_DROP_IP_TOTAL_LENGTH;
    sum = us_fold(us_sum(ip, header));
    if (sum != 0xffff)
        return US_DROP_IP_CHECKSUM;
    in->length = total;
    in->at = header;
    in->protocol = us_load16(ip + 6) & 0x3fff ? -1 : ip[9];
    in->pseudo = us_sum(ip + 12, 8);
    return 0;
}

/**
 * options_plain() - whether nothing in an options header asks for more than skipping.
 * @at: the options.
 * @end: one past them.
 *
 * RFC 8200 section 4.2: the two highest bits of an unknown option say what to do; 00 is to skip.
 */
static int options_plain(const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        if (at[0] == 0) {
            at++;
            continue;
        }
        if (at[0] >> 6 || end - at < 2 || end - at < 2 + at[1])
            return 0;
        at += 2 + at[1];
    }
    return 1;
}

/**
 * walk_extensions() - RFC 8200 section 4: to the transport header.
 * @in: at and protocol are moved on; protocol becomes -1 for what Python must look at.
 *
 * Return: 0 or a reason.
 */
static int walk_extensions(struct inner *in)
{
    int n, next = in->packet[6];
    uint32_t at = 40;

    for (n = 0; next == 0 || next == 60 || next == 43; n++) {
        const uint8_t *header = in->packet + at;
        uint32_t length;

        if (n == EXTENSIONS_MAX)
            return US_DROP_IPV6_EXTENSION_CHAIN;
        if (in->length - at < 8)
            return US_DROP_IPV6_EXTENSION;
        length = ((uint32_t)header[1] + 1) * 8;
        if (length > in->length - at)
            return US_DROP_IPV6_EXTENSION;
        if ((next == 0 && n > 0) || (next == 43 && header[3] != 0) ||
            (next != 43 && !options_plain(header + 2, header + length))) {
            next = -1;
            break;
        }
        next = header[0];
        at += length;
    }
    in->at = at;
    in->protocol = next == 44 ? -1 : next;
    return 0;
}

/**
 * parse_ipv6() - RFC 8200 section 3.
 * @in: packet and frame length set; the rest is filled.
 * @out: tos, ttl and the addresses of the key are filled.
 *
 * Return: 0 or a reason.
 */
static int parse_ipv6(struct inner *in, struct us_descriptor *out)
{
    const uint8_t *ip = in->packet;
    uint32_t total;

    if (in->length < 40)
        return US_DROP_IP_TRUNCATED;
    total = 40U + us_load16(ip + 4);
    out->tos = (uint8_t)(us_load16(ip) >> 4);
    out->ttl = ip[7];
    if (!memcmp(ip + 8, v4_prefix, 12) || !memcmp(ip + 24, v4_prefix, 12))
        return US_DROP_IPV6_MAPPED; /* in a key it would be IPv4's own address */
    memcpy(out->key, ip + 8, 32);
    if (total > in->length)
        return US_DROP_IP_TOTAL_LENGTH;
    in->length = total;
    in->pseudo = us_sum(ip + 8, 32);
    return walk_extensions(in);
}

/**
 * transport_sum_good() - whether pseudo-header, header and text sum to all ones.
 * @in: the packet.
 * @length: of the transport header and its text.
 */
static int transport_sum_good(const struct inner *in, uint32_t length)
{
    uint8_t tail[4];
    uint64_t sum;

    us_store16(tail, length);
    us_store16(tail + 2, (uint32_t)in->protocol);
    sum = in->pseudo + us_sum(tail, sizeof tail);
    return us_fold(sum + us_sum(in->packet + in->at, length)) == 0xffff;
}

/**
 * walk_options() - which TCP options there are.
 * @at: the options.
 * @length: of them.
 * @out: option_bits and the timestamps are filled.
 *
 * What is malformed counts as another option: Python decides.
 */
static void walk_options(const uint8_t *at, uint32_t length, struct us_descriptor *out)
{
    while (length) {
        uint32_t size;

        if (at[0] == 0)
            return;
        if (at[0] == 1) {
            at++;
            length--;
            continue;
        }
        if (length < 2 || at[1] < 2 || at[1] > length) {
            out->option_bits |= US_OPTION_OTHER;
            return;
        }
        size = at[1];
        if (at[0] == 8 && size == 10) {
            out->option_bits |= US_OPTION_TS;
            out->ts_val = us_load32(at + 2);
            out->ts_ecr = us_load32(at + 6);
        } else {
            out->option_bits |= US_OPTION_OTHER;
        }
        at += size;
        length -= size;
    }
}

/**
 * parse_tcp() - RFC 9293 section 3.1.
 * @in: the packet.
 * @vouched: do not verify the checksum.
 * @out: filled, but handle and offsets.
 * @payload_at: where the text starts in the packet.
 *
 * Return: 0 or a reason.
 */
static int parse_tcp(const struct inner *in, int vouched, struct us_descriptor *out, uint32_t *payload_at)
{
    const uint8_t *tcp = in->packet + in->at;
    uint32_t length = in->length - in->at, header;

    if (length < 20)
        return US_DROP_TCP_TRUNCATED;
    memcpy(out->key + 32, tcp, 4);
    header = (uint32_t)(tcp[12] >> 4) * 4;
    if (header < 20 || header > length)
        return US_DROP_TCP_DATA_OFFSET;
    if (!vouched && !transport_sum_good(in, length))
        return US_DROP_TCP_CHECKSUM;
    out->kind = US_TCP;
    out->seq = us_load32(tcp + 4);
    out->ack = us_load32(tcp + 8);
    out->flags = us_load16(tcp + 12) & 0xfff;
    out->window = us_load16(tcp + 14);
    out->urgent = us_load16(tcp + 18);
    out->options_length = (uint8_t)(header - 20);
    if (header == 32 && us_load32(tcp + 20) == 0x0101080a) {
        out->option_bits = US_OPTION_TS;
        out->ts_val = us_load32(tcp + 24);
        out->ts_ecr = us_load32(tcp + 28);
    } else if (header > 20) {
        walk_options(tcp + 20, header - 20, out);
    }
    out->payload_length = length - header;
    out->segment_size = out->payload_length;
    out->segs = 1;
    out->options_offset = in->at + 20;
    *payload_at = in->at + header;
    return 0;
}

/**
 * parse_udp() - RFC 768: lengths and checksum only; Python reads the rest.
 * @in: the packet.
 * @vouched: do not verify the checksum.
 * @out: the ports of the key are filled.
 *
 * Return: 0 or a reason.
 */
static int parse_udp(const struct inner *in, int vouched, struct us_descriptor *out)
{
    const uint8_t *udp = in->packet + in->at;
    uint32_t room = in->length - in->at, length;

    if (room < 8)
        return US_DROP_UDP_TRUNCATED;
    memcpy(out->key + 32, udp, 4);
    length = us_load16(udp + 4);
    if (length < 8 || length > room)
        return US_DROP_UDP_LENGTH;
    if (vouched)
        return 0;
    if (us_load16(udp + 6) == 0)
        return in->packet[0] >> 4 == 4 ? 0 : US_DROP_UDP_CHECKSUM;
    return transport_sum_good(in, length) ? 0 : US_DROP_UDP_CHECKSUM;
}

/**
 * parse_icmp() - RFC 792, RFC 4443: length and checksum only; Python reads the rest.
 * @in: the packet.
 * @vouched: do not verify the checksum.
 *
 * Return: 0 or a reason.
 */
static int parse_icmp(const struct inner *in, int vouched)
{
    uint32_t length = in->length - in->at;
    int good;

    if (length < 8)
        return US_DROP_ICMP_TRUNCATED;
    if (vouched)
        return 0;
    if (in->protocol == US_PROTOCOL_ICMPV6)
        good = transport_sum_good(in, length);
    else
        good = us_fold(us_sum(in->packet + in->at, length)) == 0xffff;
    return good ? 0 : US_DROP_ICMP_CHECKSUM;
}

/**
 * parse_transport() - whatever the IP packet carries.
 * @in: the packet.
 * @vouched: do not verify the checksum.
 * @out: filled.
 * @payload_at: where TCP text starts.
 *
 * Return: 0 or a reason.
 */
static int parse_transport(const struct inner *in, int vouched, struct us_descriptor *out, uint32_t *payload_at)
{
    int is_v4 = in->packet[0] >> 4 == 4;

    switch (in->protocol) {
    case US_PROTOCOL_TCP:
        return parse_tcp(in, vouched, out, payload_at);
    case US_PROTOCOL_UDP:
        return parse_udp(in, vouched, out);
    case US_PROTOCOL_ICMP:
        return is_v4 ? parse_icmp(in, vouched) : 0;
    case US_PROTOCOL_ICMPV6:
        return is_v4 ? 0 : parse_icmp(in, vouched);
    default:
        return 0;
    }
}

/**
 * us_parse() - one IP packet.
 * @packet: its bytes.
 * @length: how many there are; more than the IP header says are ignored.
 * @vouched: transport checksums need not be verified.
 * @out: filled from scratch; offsets are relative to @packet.
 * @payload_at: where TCP text starts in the packet.
 *
 * Return: out->kind.
 */
int us_parse(const uint8_t *packet, size_t length, int vouched, struct us_descriptor *out, uint32_t *payload_at)
{
    struct inner in = {.packet = packet, .length = (uint32_t)length, .protocol = -1};
    int reason;

    memset(out, 0, sizeof *out);
    out->kind = US_PACKET;
    if (length == 0)
        reason = US_DROP_FRAME_EMPTY;
    else if (length > US_PACKET_MAX + (packet[0] >> 4 == 6 ? 40U : 0U)) /* RFC 8200: beside its own header */
        reason = US_DROP_FRAME_TOO_LONG;
    else if (packet[0] >> 4 == 4)
        reason = parse_ipv4(&in, out);
    else if (packet[0] >> 4 == 6)
        reason = parse_ipv6(&in, out);
    else
        reason = US_DROP_IP_VERSION;
    if (!reason)
        reason = parse_transport(&in, vouched, out, payload_at);
    if (reason) {
        out->kind = US_REFUSED;
        out->reason = (uint8_t)reason;
    }
    out->packet_length = in.length;
    return out->kind;
}
