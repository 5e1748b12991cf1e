/* A record of any length becomes wire packets, or super-frames that the kernel cuts. */
#include <errno.h>

#include "core.h"

/**
 * us_cut_length() - payload bytes of one frame of a record.
 * @transmit: a TCP record that us_transmit_check() let pass.
 * @offload: the kernel cuts: as many whole segments as one IP packet holds.
 */
uint32_t us_cut_length(const struct us_transmit *transmit, int offload)
{
    uint32_t room = US_PACKET_MAX - us_headers_length(transmit);
    uint32_t segment = transmit->segment_size;

    if (!segment || segment > room)
        segment = transmit->length < room ? transmit->length : room;
    if (offload && segment && transmit->length > segment)
        segment = room / segment * segment;
    return segment;
}

/**
 * payload_spans() - where the payload of one part lies.
 * @transmit: what leaves.
 * @done: bytes before the part.
 * @length: of the part.
 * @spans: US_SPANS, filled.
 */
static void payload_spans(const struct us_transmit *transmit, uint32_t done, uint32_t length, struct us_span *spans)
{
    if (length && transmit->ring) {
        us_ring_gather((struct us_ring *)(uintptr_t)transmit->ring, transmit->at + done, length, spans);
        return;
    }
    memset(spans, 0, US_SPANS * sizeof *spans);
    if (!length)
        return;
    spans[0].bytes = (uint8_t *)(uintptr_t)transmit->data + done;
    spans[0].length = length;
}

/**
 * us_next_outgoing() - the next frame of a record.
 * @transmit: a TCP record that us_transmit_check() let pass; done and segs say how far it got.
 * @mode: enum us_mode.
 * @out: filled.
 *
 * Return: 1, or 0 when everything has left.
 */
int us_next_outgoing(const struct us_transmit *transmit, unsigned int mode, struct us_outgoing *out)
{
    int offload = (mode & US_MODE_VNET) != 0;
    uint32_t skip = offload ? US_VNET_LENGTH : 0, headers = us_headers_length(transmit);
    uint32_t left = transmit->length - transmit->done, length = us_cut_length(transmit, offload);
    uint32_t ip_length = headers - 20U - transmit->options_length;
    uint8_t *tcp = out->headers + skip + ip_length;
    uint64_t sum;
    uint16_t folded;

    if (transmit->segs && !left)
        return 0;
    if (length > left)
        length = left;
    payload_spans(transmit, transmit->done, length, out->payload);
    us_emit_headers(out->headers + skip, transmit, transmit->done, length, transmit->segs);
    out->headers_length = skip + headers;
    out->payload_length = length;
    out->segs = 1;
    sum = us_pseudo_sum(transmit, headers - ip_length + length);
    if (offload) {
        int is_cut = transmit->segment_size && length > transmit->segment_size;

        if (is_cut)
            out->segs = (length + transmit->segment_size - 1) / transmit->segment_size;
        us_vnet_write(out->headers, transmit, ip_length, headers, is_cut);
        folded = us_fold(sum); /* the kernel adds the rest: exactly this, not its complement */
    } else {
        sum += us_sum(tcp, headers - ip_length) + us_sum_spans(out->payload);
        folded = (uint16_t)~us_fold(sum);
    }
    memcpy(tcp + 16, &folded, sizeof folded);
    return 1;
}

/**
 * cut_size() - how much room us_cut() wants.
 * @transmit: what leaves.
 * @frame: out: length of every frame but the last.
 *
 * Return: bytes in all, or -EINVAL.
 */
static int64_t cut_size(const struct us_transmit *transmit, uint32_t *frame)
{
    uint32_t headers, segment, count;

    if (!us_transmit_check(transmit))
        return -EINVAL;
    if (transmit->kind == US_TRANSMIT_RAW) {
        *frame = transmit->length;
        return transmit->length;
    }
    headers = us_headers_length(transmit);
    segment = us_cut_length(transmit, 0);
    *frame = headers + (segment < transmit->length ? segment : transmit->length);
    count = transmit->length ? (transmit->length + segment - 1) / segment : 1;
    return (int64_t)count * headers + transmit->length;
}

/**
 * us_cut() - every frame of a record, one behind the other.
 * @record: what leaves, and what it carries.
 * @out: where to.
 * @room: bytes there.
 *
 * Return: bytes of all frames, with the length of every frame but the last << 32; nothing is written where that is
 * more than @room. -EINVAL for what is no record.
 */
int64_t us_cut(uint8_t *record, uint8_t *out, uint64_t room)
{
    struct us_transmit *transmit = us_transmits(record, 1);
    struct us_outgoing frame;
    uint32_t size = 0;
    int64_t total = cut_size(transmit, &size);

    if (total < 0)
        return total;
    if ((uint64_t)total > room) {
        if (transmit->data)
            transmit->data -= (uint64_t)(uintptr_t)record; /* the caller comes again */
        return (int64_t)size << 32 | total;
    }
    if (transmit->kind == US_TRANSMIT_RAW) {
        memcpy(out, (const uint8_t *)(uintptr_t)transmit->data, transmit->length);
        return (int64_t)size << 32 | total;
    }
    while (us_next_outgoing(transmit, 0, &frame)) {
        unsigned int n;

        memcpy(out, frame.headers, frame.headers_length);
        out += frame.headers_length;
        for (n = 0; n < US_SPANS && frame.payload[n].length; n++) {
            memcpy(out, frame.payload[n].bytes, frame.payload[n].length);
            out += frame.payload[n].length;
        }
        transmit->done += frame.payload_length;
        transmit->segs += frame.segs;
    }
    return (int64_t)size << 32 | total;
}
