/* Neighbours of a flow become one run. A descriptor is no IP packet, so a run may be of any length, and
 * nothing is moved: a run's payload is a chain of pieces of the arena. */
#include "core.h"

/**
 * us_gro_begin() - starts a batch: what the last one left is forgotten.
 * @receiver: where frames land.
 */
void us_gro_begin(struct us_receiver *receiver)
{
    receiver->used = 0;
    receiver->count = 0;
    receiver->piece_count = 0;
    if (++receiver->batch == 0) { /* a mark of 2^32 batches ago must not look live */
        memset(receiver->open_runs, 0, sizeof receiver->open_runs);
        receiver->batch = 1;
    }
}

/**
 * hash_key() - a flow's first place in the table.
 * @key: 36 bytes.
 *
 * Collisions that a peer arranges cost US_RUN_PROBES looks and a merge, no more: no secret is needed.
 */
static uint32_t hash_key(const uint8_t *key)
{
    uint64_t word[4];
    uint32_t ports;

    memcpy(word, key, sizeof word);
    memcpy(&ports, key + 32, sizeof ports);
    word[0] ^= (word[1] << 17 | word[1] >> 47) ^ ports;
    word[0] ^= (word[2] << 31 | word[2] >> 33) + word[3];
    return (uint32_t)((word[0] * 0x9e3779b97f4a7c15U) >> 40) & (US_RUN_TABLE - 1);
}

/**
 * find_run() - the place of a flow in the table of open runs.
 * @receiver: where frames land.
 * @key: of the flow.
 *
 * Return: its place, or a free one, or NULL when neither is near.
 */
static struct us_open_run *find_run(struct us_receiver *receiver, const uint8_t *key)
{
    uint32_t at = hash_key(key), probe;

    for (probe = 0; probe < US_RUN_PROBES; probe++) {
        struct us_open_run *run = &receiver->open_runs[(at + probe) & (US_RUN_TABLE - 1)];

        if (run->batch != receiver->batch ||
            memcmp(receiver->descriptors[run->descriptor].key, key, sizeof receiver->descriptors->key) == 0)
            return run;
    }
    return NULL;
}

/**
 * why_acks_apart() - whether a pure ACK may join the pure ACK before it, and stand for both.
 * @run: what came first.
 * @next: the ACK behind it.
 *
 * Only ACKs that move forward: a duplicate, a window update, a SACK or an echo of congestion each tell
 * something by being a segment of their own.
 *
 * Return: -1 when it may, or the reason why not.
 */
static int why_acks_apart(const struct us_descriptor *run, const struct us_descriptor *next)
{
    if (next->flags != US_ACK || run->flags != US_ACK)
        return US_APART_FLAGS;
    if (next->seq != run->seq)
        return US_APART_SEQUENCE;
    if (next->tos != run->tos || next->ttl != run->ttl)
        return US_APART_HOPS;
    if (((next->option_bits | run->option_bits) & US_OPTION_OTHER) || next->option_bits != run->option_bits)
        return US_APART_OPTIONS;
    if ((int32_t)(next->ack - run->ack) <= 0 || !next->window)
        return US_APART_ACK;
    return -1;
}

/**
 * why_apart() - whether a segment may join the open run of its flow.
 * @run: the run.
 * @next: the segment.
 *
 * Return: -1 when it may, or the reason why not.
 */
static int why_apart(const struct us_descriptor *run, const struct us_descriptor *next)
{
    if (!next->payload_length && !run->payload_length)
        return why_acks_apart(run, next);
    if (!next->payload_length || !run->payload_length)
        return US_APART_EMPTY;
    if ((next->flags & ~(US_PSH | US_FIN)) != US_ACK)
        return US_APART_FLAGS;
    if (run->flags & US_FIN)
        return US_APART_ENDED;
    if ((run->flags & ~US_PSH) != US_ACK)
        return US_APART_FLAGS;
    if (next->seq != run->seq + run->payload_length)
        return US_APART_SEQUENCE;
    if (next->tos != run->tos || next->ttl != run->ttl)
        return US_APART_HOPS;
    if (((next->option_bits | run->option_bits) & US_OPTION_OTHER) || next->option_bits != run->option_bits)
        return US_APART_OPTIONS;
    if ((int32_t)(next->ack - run->ack) < 0)
        return US_APART_ACK;
    return -1;
}

/**
 * add_piece() - the payload of one frame.
 * @receiver: where frames land.
 * @offset: in the arena.
 * @length: not zero.
 *
 * Return: the piece's index.
 */
static uint32_t add_piece(struct us_receiver *receiver, uint32_t offset, uint32_t length)
{
    struct us_piece *piece = &receiver->pieces[receiver->piece_count];

    piece->offset = offset;
    piece->length = length;
    piece->next = US_NO_PIECE;
    return receiver->piece_count++;
}

/**
 * join() - the segment becomes the end of the run.
 * @receiver: where frames land.
 * @at: index of the run.
 * @next: the segment.
 * @offset: of its payload in the arena.
 */
static void join(struct us_receiver *receiver, uint32_t at, const struct us_descriptor *next, uint32_t offset)
{
    struct us_descriptor *run = &receiver->descriptors[at];

    if (next->payload_length) {
        uint32_t piece = add_piece(receiver, offset, next->payload_length);

        receiver->pieces[receiver->tails[at]].next = piece;
        receiver->tails[at] = piece;
    } else {
        run->ts_val = next->ts_val; /* all have one sequence number: the newest timestamp counts */
    }
    run->payload_length += next->payload_length;
    run->segs += next->segs;
    if (next->segment_size > run->segment_size)
        run->segment_size = next->segment_size;
    run->flags = next->flags;
    run->ack = next->ack;
    run->window = next->window;
    run->ts_ecr = next->ts_ecr;
    receiver->merged++;
}

/**
 * add_segment() - a TCP segment into its flow's run, or into a run of its own.
 * @receiver: where frames land; the segment is already parsed into the next free descriptor.
 * @offset: of its payload in the arena.
 */
static void add_segment(struct us_receiver *receiver, uint32_t offset)
{
    struct us_descriptor *next = &receiver->descriptors[receiver->count];
    struct us_open_run *open = find_run(receiver, next->key);

    if (!open) {
        receiver->apart[US_APART_CROWDED]++;
    } else if (open->batch == receiver->batch) {
        const struct us_descriptor *run = &receiver->descriptors[open->descriptor];
        int apart = why_apart(run, next);

        if (apart < 0 && (next->option_bits & US_OPTION_TS) && (int32_t)(next->ts_val - run->ts_val) < 0)
            apart = US_APART_TS_VAL;
        if (apart < 0) {
            join(receiver, open->descriptor, next, offset);
            return;
        }
        receiver->apart[apart]++;
    }
    if (next->payload_length) {
        uint32_t piece = add_piece(receiver, offset, next->payload_length);

        receiver->tails[receiver->count] = piece;
        next->handle = receiver->handle_base + piece;
    }
    if (open) {
        open->batch = receiver->batch;
        open->descriptor = receiver->count;
    }
    receiver->count++;
}

/**
 * apply_gso() - what the virtio header says of a super-frame.
 * @out: the parsed frame.
 * @vnet: the header.
 * @is_v4: of the packet.
 *
 * Return: 0 or a reason.
 */
static int apply_gso(struct us_descriptor *out, const struct us_vnet *vnet, int is_v4)
{
    if (!vnet->gso_size)
        return 0;
    if (out->kind != US_TCP || (vnet->gso_type == US_GSO_TCPV4) != is_v4)
        return US_DROP_VNET_GSO;
    if (out->payload_length > vnet->gso_size) {
        out->segment_size = vnet->gso_size;
        out->segs = (out->payload_length + vnet->gso_size - 1) / vnet->gso_size;
    }
    return 0;
}

/**
 * us_take_frame() - parses one frame in the arena and finds its run.
 * @receiver: where frames land; it has a free descriptor and a free piece.
 * @offset: of the frame in the arena.
 * @length: of the frame, with its virtio header when there is one.
 * @mode: enum us_mode.
 *
 * Return: the kind of what was taken.
 */
int us_take_frame(struct us_receiver *receiver, uint32_t offset, uint32_t length, unsigned int mode)
{
    struct us_descriptor *out = &receiver->descriptors[receiver->count];
    struct us_vnet vnet = {.vouched = 0, .gso_type = 0, .gso_size = 0};
    uint32_t payload_at = 0, skip = 0;
    int reason = 0;

    receiver->frames++;
    if (mode & US_MODE_VNET) {
        reason = us_vnet_read(receiver->arena + offset, length, &vnet);
        skip = reason == US_DROP_VNET_HEADER ? 0 : US_VNET_LENGTH;
        offset += skip;
        length -= skip;
    }
    if (!reason) {
        us_parse(receiver->arena + offset, length, vnet.vouched || (mode & US_MODE_TRUSTED), out, &payload_at);
        if (out->kind != US_REFUSED)
            reason = apply_gso(out, &vnet, receiver->arena[offset] >> 4 == 4);
    } else {
        memset(out, 0, sizeof *out);
        out->packet_length = length;
    }
    if (reason) {
        out->kind = US_REFUSED;
        out->reason = (uint8_t)reason;
    }
    if (out->packet_length <= US_SMALL)
        memcpy(receiver->smalls + (size_t)receiver->count * US_SMALL, receiver->arena + offset, out->packet_length);
    out->packet_offset = offset;
    out->options_offset += offset;
    if (out->kind == US_TCP)
        add_segment(receiver, offset + payload_at);
    else
        receiver->count++;
    return out->kind;
}

/**
 * us_piece_valid() - whether a handle is of the present batch.
 * @receiver: where the batch landed.
 * @handle: from a descriptor.
 */
int us_piece_valid(const struct us_receiver *receiver, uint32_t handle)
{
    return handle - receiver->handle_base < receiver->piece_count;
}
