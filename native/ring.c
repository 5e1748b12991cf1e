/* A window of a byte stream by absolute offsets, in memory that grows when it is needed. */
#include <errno.h>
#include <stdlib.h>

#include "core.h"

/**
 * us_ring_new() - a ring without memory yet.
 * @pool: where its memory is counted; may be NULL.
 * @capacity: bytes that may be kept.
 * @at: absolute offset of the first byte.
 * @range_limit: stretches beyond the in-order end that may be kept.
 *
 * Return: NULL when there is no memory.
 */
struct us_ring *us_ring_new(struct us_pool *pool, uint64_t capacity, uint64_t at, uint32_t range_limit)
{
    struct us_ring *ring = us_pool_spend(pool) ? calloc(1, sizeof *ring) : NULL;

    if (!ring)
        return NULL;
    ring->pool = us_pool_hold(pool);
    if (pool)
        __atomic_add_fetch(&pool->rings, 1, __ATOMIC_RELAXED);
    ring->capacity = capacity;
    ring->start = at;
    ring->end = at;
    ring->base = at;
    ring->range_limit = range_limit;
    return ring;
}

/**
 * us_ring_free() - with its memory, unless views hold it.
 * @ring: may be NULL.
 */
void us_ring_free(struct us_ring *ring)
{
    if (!ring)
        return;
    us_ring_let_go(ring, UINT64_MAX);
    us_block_release(ring->block);
    us_pool_free(ring->pool, ring->ranges, ring->range_slots * sizeof *ring->ranges);
    if (ring->pool)
        __atomic_sub_fetch(&ring->pool->rings, 1, __ATOMIC_RELAXED);
    us_pool_release(ring->pool);
    free(ring);
}

/**
 * us_ring_resize() - another capacity; what is kept stays, even beyond it.
 * @ring: the ring.
 * @capacity: bytes.
 *
 * Return: 0.
 */
int us_ring_resize(struct us_ring *ring, uint64_t capacity)
{
    ring->capacity = capacity;
    return 0;
}

/**
 * us_ring_restart() - the stream went on elsewhere: the next byte has another offset.
 * @ring: keeps nothing.
 * @at: absolute offset.
 */
void us_ring_restart(struct us_ring *ring, uint64_t at)
{
    ring->base = at;
    ring->start = at;
    ring->end = at;
}

/**
 * drop_ranges() - nothing is kept beyond the in-order end.
 * @ring: the ring.
 */
static void drop_ranges(struct us_ring *ring)
{
    us_pool_free(ring->pool, ring->ranges, ring->range_slots * sizeof *ring->ranges);
    ring->ranges = NULL;
    ring->range_slots = 0;
    ring->range_count = 0;
}

/**
 * us_ring_trim() - gives memory back when nothing is kept.
 * @ring: the ring.
 */
void us_ring_trim(struct us_ring *ring)
{
    if (us_ring_top(ring) != ring->start)
        return;
    us_block_release(ring->block);
    ring->block = NULL;
    drop_ranges(ring);
}

/**
 * us_ring_prune() - memory is short: text beyond the in-order end is given up (the peer has to send it again), and so
 * is memory that what is left does not need.
 * @ring: a receive ring.
 */
void us_ring_prune(struct us_ring *ring)
{
    uint64_t kept = ring->end - ring->start, size = US_BLOCK_MIN;
    struct us_block *block;

    us_ring_settle(ring);
    drop_ranges(ring);
    if (!kept) {
        us_block_release(ring->block);
        ring->block = NULL;
    }
    if (!ring->block)
        return;
    while (size < kept)
        size *= 2;
    if (size >= ring->block->size)
        return;
    block = us_block_new(ring, size, 1); /* it gives more than it takes */
    if (block)
        us_ring_move(ring, block, kept);
}

/**
 * us_ring_write() - appends as much as fits, and as tcp_mem allows. Who has nothing in flight may always write a
 * little: nobody would wake him later.
 * @ring: a send ring.
 * @data: where from.
 * @length: bytes.
 *
 * Return: bytes taken; -ENOMEM when there is room but no memory for any.
 */
int64_t us_ring_write(struct us_ring *ring, const uint8_t *data, uint64_t length)
{
    uint64_t all = us_ring_used(ring), used = ring->end - ring->start;
    uint64_t room = ring->capacity > all ? ring->capacity - all : 0;
    struct us_span spans[2];

    if (length > room)
        length = room;
    if (!length)
        return 0;
    if (us_ring_reserve(ring, ring->end + length, 0) < 0) {
        if (!ring->block && us_ring_reserve(ring, ring->end + 1, 1) < 0)
            return -ENOMEM;
        if (length > ring->block->size - used)
            length = ring->block->size - used;
        if (!length)
            return -ENOMEM;
    }
    us_ring_locate(ring, ring->end, length, spans);
    memcpy(spans[0].bytes, data, spans[0].length);
    memcpy(spans[1].bytes, data + spans[0].length, spans[1].length);
    ring->end += length;
    return (int64_t)length;
}

/**
 * us_ring_release() - forgets what lies below an offset.
 * @ring: the ring.
 * @upto: absolute offset, not beyond the end.
 *
 * Return: 0 or -EINVAL.
 */
int us_ring_release(struct us_ring *ring, uint64_t upto)
{
    if (upto > ring->end)
        return -EINVAL;
    us_ring_settle(ring);
    if (ring->loan_count)
        us_ring_let_go(ring, upto);
    if (upto > ring->start)
        ring->start = upto;
    return 0;
}

/**
 * us_ring_spans() - where kept in-order bytes lie.
 * @ring: the ring.
 * @at: absolute offset.
 * @length: bytes.
 * @spans: two, filled.
 *
 * Return: 0, or -EINVAL when not all of it is kept.
 */
int us_ring_spans(struct us_ring *ring, uint64_t at, uint64_t length, struct us_span *spans)
{
    memset(spans, 0, 2 * sizeof *spans);
    if (at < ring->start || at > ring->end || length > ring->end - at)
        return -EINVAL;
    us_ring_settle(ring);
    if (length)
        us_ring_locate(ring, at, length, spans);
    return 0;
}

/**
 * us_ring_take() - the next in-order bytes, given up: they stay where they are until the next placement.
 * @ring: a receive ring.
 * @length: at most.
 * @spans: two, filled.
 *
 * Return: bytes taken.
 */
int64_t us_ring_take(struct us_ring *ring, uint64_t length, struct us_span *spans)
{
    uint64_t readable = ring->end - ring->start;

    if (length > readable)
        length = readable;
    us_ring_spans(ring, ring->start, length, spans);
    ring->start += length;
    return (int64_t)length;
}

/**
 * us_ring_read() - the next in-order bytes, copied out and given up.
 * @ring: a receive ring.
 * @out: where to.
 * @length: at most.
 *
 * Return: bytes read.
 */
int64_t us_ring_read(struct us_ring *ring, uint8_t *out, uint64_t length)
{
    uint64_t settled = ring->end - ring->deferred_length - ring->start;
    struct us_span spans[2];

    if (settled > length)
        settled = length;
    if (settled) {
        us_ring_locate(ring, ring->start, settled, spans);
        memcpy(out, spans[0].bytes, spans[0].length);
        memcpy(out + spans[0].length, spans[1].bytes, spans[1].length);
        ring->start += settled;
    }
    return (int64_t)(settled + us_ring_read_deferred(ring, out + settled, length - settled));
}
