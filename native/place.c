/* Text into a receive ring, in order or not: what is kept beyond the in-order end is a list of ranges. */
#include <errno.h>
#include <stdlib.h>

#include "core.h"

#define RANGES_MIN 8U

/* Shorter text is copied at once: putting the copy off costs more than it could save. */
#define LATE_MIN 16384U
#define LATE_MAX (sizeof ((struct us_ring *)0)->late / sizeof(struct us_late))
/* Of the result: the ring has text in the arena. */
#define IS_LATE 0x8000U

/**
 * next_stretch() - the next piece of a chain.
 * @from: moved on.
 *
 * Return: 0 when there is none.
 */
static int next_stretch(struct us_source *from)
{
    const struct us_piece *piece;

    if (!from->receiver || from->next >= from->receiver->piece_count)
        return 0;
    piece = &from->receiver->pieces[from->next];
    from->bytes = from->receiver->arena + piece->offset;
    from->left = piece->length;
    from->next = piece->next;
    return 1;
}

/**
 * source_skip() - passes over bytes.
 * @from: moved on.
 * @count: bytes.
 *
 * Return: 0, or -EINVAL when there are not so many.
 */
static int source_skip(struct us_source *from, uint64_t count)
{
    while (count > from->left) {
        count -= from->left;
        if (!next_stretch(from))
            return -EINVAL;
    }
    if (count) { /* bytes may be NULL before the first stretch */
        from->bytes += count;
        from->left -= count;
    }
    return 0;
}

/**
 * us_source_copy() - takes bytes.
 * @from: moved on.
 * @out: where to.
 * @count: bytes.
 *
 * Return: 0, or -EINVAL when there are not so many.
 */
int us_source_copy(struct us_source *from, uint8_t *out, uint64_t count)
{
    while (count) {
        uint64_t part = count < from->left ? count : from->left;

        if (part) {
            memcpy(out, from->bytes, part);
            from->bytes += part;
            from->left -= part;
            out += part;
            count -= part;
        } else if (!next_stretch(from)) {
            return -EINVAL;
        }
    }
    return 0;
}

/**
 * fill() - copies a stretch into the window.
 * @ring: has memory that covers it.
 * @at: absolute offset.
 * @count: bytes.
 * @from: moved on.
 *
 * Return: 0 or -EINVAL.
 */
static int fill(struct us_ring *ring, uint64_t at, uint64_t count, struct us_source *from)
{
    struct us_span spans[2];

    if (!count)
        return 0;
    us_ring_locate(ring, at, count, spans);
    if (us_source_copy(from, spans[0].bytes, spans[0].length) < 0)
        return -EINVAL;
    return us_source_copy(from, spans[1].bytes, spans[1].length);
}

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
            if (fill(ring, low, start - low, from) < 0)
                return -EINVAL;
            low = start;
        }
        if (end > low) {
            if (source_skip(from, end - low) < 0)
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
    uint32_t ranges = ring->range_count < IS_LATE - 1 ? ring->range_count : IS_LATE - 1;

    return (int64_t)(advance << 16 | (ring->late_count ? IS_LATE : 0) | ranges);
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
 * put_off() - notes in-order text that stays in the arena for now: who reads it before the next batch gets it
 * from there, and one copy is saved.
 * @ring: has memory for the text; nothing lies beyond its in-order end.
 * @length: bytes.
 * @from: the source; more of it than one stretch.
 *
 * Return: 0 when it has to be copied after all.
 */
static int put_off(struct us_ring *ring, uint64_t length, const struct us_source *from)
{
    if (length < LATE_MIN || !from->receiver || ring->range_count || ring->late_count == LATE_MAX)
        return 0;
    ring->late[ring->late_count].from = *from;
    ring->late[ring->late_count].length = length;
    ring->late_count++;
    ring->late_length += length;
    ring->end += length;
    return 1;
}

/**
 * us_ring_settle() - copies what was put off: before the arena is used again, and before who needs it in place.
 * @ring: a receive ring.
 */
void us_ring_settle(struct us_ring *ring)
{
    uint64_t at = ring->end - ring->late_length;
    uint32_t n;

    for (n = 0; n < ring->late_count; n++) {
        (void)fill(ring, at, ring->late[n].length, &ring->late[n].from); /* its length was checked */
        at += ring->late[n].length;
    }
    ring->late_count = 0;
    ring->late_length = 0;
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
    if (source_skip(from, low - at) < 0)
        return -EINVAL;
    first = first_reaching(ring, low);
    if (low > ring->end && (first == ring->range_count || ring->ranges[first].start > high)) {
        error = room_for_range(ring);
        if (error)
            return error;
    }
    if (us_ring_reserve(ring, high > us_ring_top(ring) ? high : us_ring_top(ring), 0) < 0)
        return -ENOMEM;
    if (low == ring->end && put_off(ring, high - low, from))
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

    if (!us_piece_valid(receiver, handle) || source_skip(&from, skip) < 0)
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

    if (!us_piece_valid(receiver, handle) || source_skip(&from, skip) < 0 || us_source_copy(&from, out, length) < 0)
        return -EINVAL;
    return (int64_t)length;
}
