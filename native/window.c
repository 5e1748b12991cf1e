/* The memory of a ring: where a stretch of its window lies, and more of it when that is needed. */
#include <errno.h>
#include <stdlib.h>

#include "core.h"

/**
 * us_block_release() - one reference less.
 * @block: freed with the last reference.
 */
void us_block_release(struct us_block *block)
{
    if (block && __atomic_sub_fetch(&block->references, 1, __ATOMIC_ACQ_REL) == 0) {
        us_pool_free(block->pool, block->bytes, block->size);
        us_pool_release(block->pool);
        free(block);
    }
}

/**
 * us_block_hold() - one reference more on a ring's memory, for a view.
 * @ring: has memory.
 */
struct us_block *us_block_hold(struct us_ring *ring)
{
    if (ring->block)
        __atomic_add_fetch(&ring->block->references, 1, __ATOMIC_RELAXED);
    return ring->block;
}

/**
 * us_block_new() - memory of a ring.
 * @ring: who wants it, in place of what it has.
 * @size: bytes.
 * @force: whatever tcp_mem says.
 *
 * Return: NULL when there is none.
 */
struct us_block *us_block_new(const struct us_ring *ring, uint64_t size, int force)
{
    struct us_block *block = malloc(sizeof *block);

    if (!block)
        return NULL;
    block->bytes = us_pool_alloc(ring->pool, size, ring->block ? ring->block->size : 0, force);
    block->size = size;
    block->references = 1;
    if (block->bytes) {
        block->pool = us_pool_hold(ring->pool);
        return block;
    }
    free(block);
    return NULL;
}

/**
 * us_ring_top() - one past the last byte that is kept.
 * @ring: the ring.
 */
uint64_t us_ring_top(const struct us_ring *ring)
{
    return ring->range_count ? ring->ranges[ring->range_count - 1].end : ring->end;
}

/**
 * us_ring_locate() - where a stretch of the window lies.
 * @ring: has memory that covers it.
 * @at: absolute offset.
 * @length: not more than the memory's size.
 * @spans: two, filled; the second is empty when the stretch does not wrap.
 */
void us_ring_locate(const struct us_ring *ring, uint64_t at, uint64_t length, struct us_span *spans)
{
    uint64_t size = ring->block->size, index = (at - ring->base) % size;

    spans[0].bytes = ring->block->bytes + index;
    spans[0].length = length < size - index ? length : size - index;
    spans[1].bytes = ring->block->bytes;
    spans[1].length = length - spans[0].length;
}

/**
 * us_ring_move() - other memory for what a ring keeps.
 * @ring: the ring.
 * @block: large enough.
 * @kept: bytes from the start on.
 */
void us_ring_move(struct us_ring *ring, struct us_block *block, uint64_t kept)
{
    struct us_span spans[2];

    if (kept) {
        us_ring_locate(ring, ring->start, kept, spans);
        memcpy(block->bytes, spans[0].bytes, spans[0].length);
        memcpy(block->bytes + spans[0].length, spans[1].bytes, spans[1].length);
    }
    us_block_release(ring->block);
    ring->block = block;
    ring->base = ring->start;
}

/**
 * us_ring_reserve() - makes sure that there is memory for [start, upto).
 * @ring: the ring.
 * @upto: absolute offset.
 * @force: whatever tcp_mem says.
 *
 * Return: 0 or -ENOMEM.
 */
int us_ring_reserve(struct us_ring *ring, uint64_t upto, int force)
{
    uint64_t need = upto - ring->start, size = US_BLOCK_MIN, kept = us_ring_top(ring) - ring->start;
    struct us_block *block;

    if (ring->block && kept == 0)
        ring->base = ring->start; /* from the front again: the same few pages stay in the cache */
    if (ring->block && need <= ring->block->size)
        return 0;
    while (size < need)
        size *= 2;
    if (size > ring->capacity && need <= ring->capacity)
        size = ring->capacity;
    block = us_block_new(ring, size, force);
    if (!block)
        return -ENOMEM;
    us_ring_move(ring, block, kept);
    return 0;
}
