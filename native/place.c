/* Text into a receive ring, in order or not: what is kept beyond the in-order end is a list of ranges. */
#include <errno.h>
#include <stdlib.h>

#include "core.h"

#define RANGES_MIN 8U

/* Of the result: the ring has text in the arena. */
#define IS_DEFERRED 0x8000U

/**
 * first_reaching() - the first range that ends at an offset or beyond.
 * @ring: a receive ring.
 * @at: absolute offset.
 */
static uint32_t first_reaching(const struct us_ring *ring, uint64_t at)
{
    uint32_t low = 0, high = ring->range_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (ring->ranges[middle].end < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/**
 * us_ring_find() - where to look for a byte beyond the in-order end.
 * @ring: a receive ring.
 * @at: absolute offset.
 *
 * Return: the index of the first range that ends above @at; the count of ranges when none does.
 */
uint32_t us_ring_find(const struct us_ring *ring, uint64_t at)
{
    return first_reaching(ring, at + 1);
}

/**
 * room_for_range() - makes sure that one more range can be kept.
 * @ring: a receive ring.
 *
 * Return: 0, -ENOBUFS at the limit, -ENOMEM.
 */
static int room_for_range(struct us_ring *ring)
{
    uint32_t slots;
    struct us_range *ranges;

    if (ring->range_count < ring->range_slots)
        return ring->range_count < ring->range_limit ? 0 : -ENOBUFS;
    if (ring->range_count >= ring->range_limit)
        return -ENOBUFS;
    slots = ring->range_slots ? ring->range_slots * 2 : RANGES_MIN;
    ranges = us_pool_alloc(ring->pool, slots * sizeof *ranges, 0, 0);
    if (!ranges)
        return -ENOMEM;
    if (ring->range_count)
        memcpy(ranges, ring->ranges, ring->range_count * sizeof *ranges);
    us_pool_free(ring->pool, ring->ranges, ring->range_slots * sizeof *ranges);
    ring->ranges = ranges;
    ring->range_slots = slots;
    return 0;
}

/**
 * fill_gaps() - copies only what no range has yet: the first arrival wins, as in Linux.
 * @ring: a receive ring with memory for all of it.
 * @low: absolute offset; @from stands there.
 * @high: one past the last byte.
 * @from: moved on to @high.
 * @at: the first range that reaches @low.
 *
 * Return: 0 or -EINVAL.
 */
static int fill_gaps(struct us_ring *ring, uint64_t low, uint64_t high, struct us_source *from, uint32_t at)
{
    for (; low < high; at++) {
        uint64_t start = high, end = high;

        if (at < ring->range_count && ring->ranges[at].start < high) {
            start = ring->ranges[at].start;
            end = ring->ranges[at].end < high ? ring->ranges[at].end : high;
        }
        if (start > low) {
            if (us_source_fill(ring, low, start - low, from) < 0)
                return -EINVAL;
            low = start;
        }
        if (end > low) {
            if (us_source_skip(from, end - low) < 0)
                return -EINVAL;
            low = end;
        }
    }
    return 0;
}

/**
 * cover() - notes a range as kept; touching ones become one.
 * @ring: a receive ring with room for one more range.
 * @low: absolute offset.
 * @high: one past.
 * @at: the first range that reaches @low.
 */
static void cover(struct us_ring *ring, uint64_t low, uint64_t high, uint32_t at)
{
    uint32_t last = at;

    while (last < ring->range_count && ring->ranges[last].start <= high)
        last++;
    if (last > at) {
        if (ring->ranges[at].start < low)
            low = ring->ranges[at].start;
        if (ring->ranges[last - 1].end > high)
            high = ring->ranges[last - 1].end;
    }
    memmove(&ring->ranges[at + 1], &ring->ranges[last], (ring->range_count - last) * sizeof *ring->ranges);
    ring->range_count = ring->range_count - (last - at) + 1;
    ring->ranges[at].start = low;
    ring->ranges[at].end = high;
}

/**
 * result() - what a placement tells Python in one number.
 * @ring: a receive ring.
 * @advance: of the in-order end.
 */
static int64_t result(const struct us_ring *ring, uint64_t advance)
{
    uint32_t ranges = ring->range_count < IS_DEFERRED - 1 ? ring->range_count : IS_DEFERRED - 1;

    return (int64_t)(advance << 16 | (ring->deferred_count ? IS_DEFERRED : 0) | ranges);
}

/**
 * advance_end() - text that starts at the in-order end was filled: the end moves over it and over what it meets.
 * @ring: a receive ring.
 * @high: one past the text.
 */
static void advance_end(struct us_ring *ring, uint64_t high)
{
    uint32_t met = 0;

    ring->end = high;
    while (met < ring->range_count && ring->ranges[met].start <= ring->end) {
        if (ring->ranges[met].end > ring->end)
            ring->end = ring->ranges[met].end;
        met++;
    }
    if (met) {
        ring->range_count -= met;
        memmove(ring->ranges, ring->ranges + met, ring->range_count * sizeof *ring->ranges);
    }
}

/**
 * place() - text at an absolute offset, in order or not.
 * @ring: a receive ring.
 * @at: absolute offset of the first byte of the source.
 * @length: of it.
 * @from: the source.
 *
 * What lies outside [end, start + capacity) is cut. Beyond the limit of ranges the newest is refused.
 *
 * Return: result(), -EINVAL for a source shorter than said, -ENOMEM, -ENOBUFS for a range too many.
 */
static int64_t place(struct us_ring *ring, uint64_t at, uint64_t length, struct us_source *from)
{
    uint64_t low = at > ring->end ? at : ring->end, high = at + length, before = ring->end;
    uint64_t edge = ring->start + ring->capacity;
    uint32_t first;
    int error;

    if (high < at)
        return -EINVAL;
    if (high > edge)
        high = edge;
    if (low >= high)
        return result(ring, 0);
    if (us_source_skip(from, low - at) < 0)
        return -EINVAL;
    first = first_reaching(ring, low);
    if (low > ring->end && (first == ring->range_count || ring->ranges[first].start > high)) {
        error = room_for_range(ring);
        if (error)
            return error;
    }
    if (us_ring_reserve(ring, high > us_ring_top(ring) ? high : us_ring_top(ring), 0) < 0)
        return -ENOMEM;
    if (low == ring->end && us_ring_defer(ring, high - low, from))
        return result(ring, ring->end - before);
    us_ring_settle(ring);
    if (fill_gaps(ring, low, high, from, first) < 0)
        return -EINVAL;
    if (low == ring->end)
        advance_end(ring, high);
    else
        cover(ring, low, high, first);
    return result(ring, ring->end - before);
}

/**
 * us_ring_place() - bytes from memory.
 * @ring: a receive ring.
 * @at: absolute offset of the first.
 * @data: where from.
 * @skip: bytes of @data to pass over.
 * @length: bytes.
 *
 * Return: advance of the in-order end << 16 | 0x8000 when us_ring_settle() is to be called before the next
 * batch | ranges beyond the end; -ENOMEM, -ENOBUFS.
 */
int64_t us_ring_place(struct us_ring *ring, uint64_t at, const uint8_t *data, uint64_t skip, uint64_t length)
{
    struct us_source from = {data + skip, length, NULL, US_NO_PIECE};

    return place(ring, at, length, &from);
}

/**
 * us_ring_place_run() - bytes from a run of the present batch.
 * @ring: a receive ring.
 * @at: absolute offset of the first.
 * @receiver: where the batch landed.
 * @handle: of the run.
 * @skip: bytes of the run to pass over.
 * @length: bytes.
 *
 * Return: as us_ring_place(); -EINVAL for a handle that is not of this batch, or a run shorter than said.
 */
int64_t us_ring_place_run(struct us_ring *ring, uint64_t at, const struct us_receiver *receiver,
                          uint32_t handle, uint64_t skip, uint64_t length)
{
    struct us_source from = {NULL, 0, receiver, handle - receiver->handle_base};

    if (!us_piece_valid(receiver, handle) || us_source_skip(&from, skip) < 0)
        return -EINVAL;
    return place(ring, at, length, &from);
}

/**
 * us_payload_copy() - bytes of a run, for whoever wants them outside a ring.
 * @receiver: where the batch landed.
 * @handle: of the run.
 * @skip: bytes to pass over.
 * @length: bytes.
 * @out: where to.
 *
 * Return: @length or -EINVAL.
 */
int64_t us_payload_copy(const struct us_receiver *receiver, uint32_t handle, uint64_t skip, uint64_t length,
                        uint8_t *out)
{
    struct us_source from = {NULL, 0, receiver, handle - receiver->handle_base};

    if (!us_piece_valid(receiver, handle) || us_source_skip(&from, skip) < 0 || us_source_copy(&from, out, length) < 0)
        return -EINVAL;
    return (int64_t)length;
}
