/* Text that stays where it landed until the next batch, and how it is copied: who reads it before saves one copy. */
#include <errno.h>

#include "core.h"

/* Shorter text is copied at once: putting the copy off costs more than it could save. */
#define DEFERRED_MIN 16384U
#define DEFERRED_MAX (sizeof ((struct us_ring *)0)->deferred / sizeof(struct us_deferred))

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
 * us_source_skip() - passes over bytes.
 * @from: moved on.
 * @count: bytes.
 *
 * Return: 0, or -EINVAL when there are not so many.
 */
int us_source_skip(struct us_source *from, uint64_t count)
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
 * us_source_fill() - copies a stretch into the window.
 * @ring: has memory that covers it.
 * @at: absolute offset.
 * @count: bytes.
 * @from: moved on.
 *
 * Return: 0 or -EINVAL.
 */
int us_source_fill(struct us_ring *ring, uint64_t at, uint64_t count, struct us_source *from)
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
 * us_ring_defer() - notes in-order text that stays in the arena for now: who reads it before the next batch gets it
 * from there, and one copy is saved.
 * @ring: has memory for the text; nothing lies beyond its in-order end.
 * @length: bytes.
 * @from: the source; more of it than one stretch.
 *
 * Return: 0 when it has to be copied after all.
 */
int us_ring_defer(struct us_ring *ring, uint64_t length, const struct us_source *from)
{
    if (length < DEFERRED_MIN || !from->receiver || ring->range_count || ring->deferred_count == DEFERRED_MAX)
        return 0;
    ring->deferred[ring->deferred_count].from = *from;
    ring->deferred[ring->deferred_count].length = length;
    ring->deferred_count++;
    ring->deferred_length += length;
    ring->end += length;
    return 1;
}

/**
 * us_ring_settle() - copies what was deferred: before the arena is used again, and before who needs it in place.
 * @ring: a receive ring.
 */
void us_ring_settle(struct us_ring *ring)
{
    uint64_t at = ring->end - ring->deferred_length;
    uint32_t n;

    for (n = 0; n < ring->deferred_count; n++) {
        (void)us_source_fill(ring, at, ring->deferred[n].length, &ring->deferred[n].from); /* its length was checked */
        at += ring->deferred[n].length;
    }
    ring->deferred_count = 0;
    ring->deferred_length = 0;
}

/**
 * us_ring_read_deferred() - copies out of the arena what was deferred.
 * @ring: everything before has been read.
 * @out: where to.
 * @length: at most.
 *
 * Return: bytes read.
 */
uint64_t us_ring_read_deferred(struct us_ring *ring, uint8_t *out, uint64_t length)
{
    uint64_t done = 0;
    uint32_t n = 0;

    while (n < ring->deferred_count && done < length) {
        struct us_deferred *text = &ring->deferred[n];
        uint64_t part = text->length < length - done ? text->length : length - done;

        (void)us_source_copy(&text->from, out + done, part); /* its length was checked */
        text->length -= part;
        done += part;
        if (!text->length)
            n++;
    }
    ring->deferred_count -= n;
    memmove(ring->deferred, ring->deferred + n, ring->deferred_count * sizeof *ring->deferred);
    ring->deferred_length -= done;
    ring->start += done;
    return done;
}
