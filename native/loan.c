/* Text that a send ring does not copy: somebody's own bytes that never change, sent from where they lie. What was copied
 * before them stays in its block, and what comes after them goes into another. */
#include <errno.h>
#include <stdlib.h>

#include "core.h"

#define LOANS_MOST 64U
#define SHORT_BELOW 65536U /* a frame is shorter, so none reaches over a loan that is not short */

/**
 * lent() - bytes of a send ring that it has not copied.
 * @ring: the ring.
 */
static uint64_t lent(const struct us_ring *ring)
{
    return ring->loan_count ? ring->loans[ring->loan_count - 1].end - ring->lent_from : 0;
}

/**
 * us_ring_used() - bytes that a ring keeps in order, copied or not.
 * @ring: the ring.
 */
uint64_t us_ring_used(const struct us_ring *ring)
{
    return lent(ring) + (ring->end - ring->start);
}

/**
 * is_short() - whether a frame may reach over a loan, and so over two that stand side by side.
 * @loan: the loan.
 */
static int is_short(const struct us_loan *loan)
{
    return loan->end - loan->start < SHORT_BELOW;
}

/**
 * add_loan() - one more stretch, behind the last.
 * @ring: a send ring with room for it.
 * @block: whose memory it is, with a reference for the loan; NULL when it is somebody else's.
 * @bytes: where it lies.
 * @length: bytes.
 */
static void add_loan(struct us_ring *ring, struct us_block *block, const uint8_t *bytes, uint64_t length)
{
    struct us_loan *loan = &ring->loans[ring->loan_count];
    uint64_t start = ring->loan_count ? ring->loans[ring->loan_count - 1].end : ring->lent_from;

    loan->block = block;
    loan->bytes = bytes;
    loan->start = start;
    loan->end = start + length;
    ring->loan_count++;
}

/**
 * seal() - what was copied until now stays where it is; the ring's memory for what comes is another.
 * @ring: a send ring with room for two loans, and memory that keeps something.
 */
static void seal(struct us_ring *ring)
{
    struct us_span spans[2];

    us_ring_locate(ring, ring->start, ring->end - ring->start, spans);
    if (spans[1].length)
        add_loan(ring, us_block_hold(ring), spans[0].bytes, spans[0].length);
    add_loan(ring, ring->block, spans[spans[1].length != 0].bytes, spans[spans[1].length != 0].length);
    ring->block = NULL;
}

/**
 * us_ring_borrow() - appends text without a copy, as much of it as fits. Its bytes stay as they are until
 * us_ring_release() has passed them.
 * @ring: a send ring.
 * @data: where the text lies.
 * @length: bytes.
 *
 * Return: bytes taken; 0 when there is no room, or when the text has to be copied: short text behind copied or short
 * text, what would be one loan too many, or where tcp_mem has no more.
 */
int64_t us_ring_borrow(struct us_ring *ring, const uint8_t *data, uint64_t length)
{
    uint64_t used = us_ring_used(ring), room = ring->capacity > used ? ring->capacity - used : 0;
    int has_copied = ring->end != ring->start;

    if (length > room)
        length = room;
    if (!length || ring->loan_count + 3 > LOANS_MOST)
        return 0;
    if (length < SHORT_BELOW && (has_copied || (ring->loan_count && is_short(&ring->loans[ring->loan_count - 1]))))
        return 0;
    if (!ring->loans) {
        ring->loans = us_pool_alloc(ring->pool, LOANS_MOST * sizeof *ring->loans, 0, 0);
        if (!ring->loans)
            return 0;
    }
    if (!us_pool_charge(ring->pool, length, used))
        return 0;
    if (!ring->loan_count)
        ring->lent_from = ring->start;
    if (has_copied)
        seal(ring);
    add_loan(ring, NULL, data, length);
    ring->base = ring->start = ring->end = ring->end + length;
    return (int64_t)length;
}

/**
 * us_ring_let_go() - loans that lie wholly below an offset are given back.
 * @ring: a send ring.
 * @upto: absolute offset.
 */
void us_ring_let_go(struct us_ring *ring, uint64_t upto)
{
    uint32_t count = 0;

    if (upto > ring->lent_from)
        ring->lent_from = upto;
    while (count < ring->loan_count && ring->loans[count].end <= upto) {
        const struct us_loan *loan = &ring->loans[count++];

        if (loan->block)
            us_block_release(loan->block);
        else
            us_pool_uncharge(ring->pool, loan->end - loan->start);
    }
    ring->loan_count -= count;
    if (!ring->loan_count) {
        us_pool_free(ring->pool, ring->loans, LOANS_MOST * sizeof *ring->loans);
        ring->loans = NULL;
    } else if (count) {
        memmove(ring->loans, ring->loans + count, ring->loan_count * sizeof *ring->loans);
    }
}

/**
 * us_ring_keeps() - whether all of a stretch is kept.
 * @ring: a send ring.
 * @at: absolute offset.
 * @length: bytes.
 */
int us_ring_keeps(const struct us_ring *ring, uint64_t at, uint64_t length)
{
    uint64_t from = ring->loan_count ? ring->lent_from : ring->start;

    return at >= from && at <= ring->end && length <= ring->end - at;
}

/**
 * us_ring_gather() - where the text of one frame lies.
 * @ring: a send ring that keeps it.
 * @at: absolute offset.
 * @length: bytes of text, less than 64 KiB.
 * @spans: US_SPANS of them, filled; the empty ones are last. The end of one long loan, a short one, a block in two
 * parts, and the begin of another long loan are the most that a frame can have.
 */
void us_ring_gather(struct us_ring *ring, uint64_t at, uint64_t length, struct us_span *spans)
{
    uint32_t n, filled = 0;

    memset(spans, 0, US_SPANS * sizeof *spans);
    for (n = 0; n < ring->loan_count && length && filled < US_SPANS; n++) {
        const struct us_loan *loan = &ring->loans[n];
        uint64_t here;

        if (at >= loan->end)
            continue;
        here = length < loan->end - at ? length : loan->end - at;
        spans[filled].bytes = (uint8_t *)(uintptr_t)loan->bytes + (at - loan->start);
        spans[filled].length = here;
        filled++;
        at += here;
        length -= here;
    }
    if (length && filled + 2 <= US_SPANS)
        us_ring_spans(ring, at, length, &spans[filled]);
}

/**
 * us_ring_copy() - text that is kept, wherever it lies.
 * @ring: a send ring.
 * @at: absolute offset.
 * @length: bytes.
 * @out: where to.
 *
 * Return: 0, or -EINVAL when not all of it is kept.
 */
int us_ring_copy(struct us_ring *ring, uint64_t at, uint64_t length, uint8_t *out)
{
    if (!us_ring_keeps(ring, at, length))
        return -EINVAL;
    while (length) {
        struct us_span spans[US_SPANS];
        uint64_t part = length < SHORT_BELOW / 2 ? length : SHORT_BELOW / 2;
        unsigned int n;

        us_ring_gather(ring, at, part, spans);
        for (n = 0; n < US_SPANS && spans[n].length; n++) {
            memcpy(out, spans[n].bytes, spans[n].length);
            out += spans[n].length;
        }
        at += part;
        length -= part;
    }
    return 0;
}
