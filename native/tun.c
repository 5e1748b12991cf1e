/* The system calls: frames in, frames out, waiting. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "core.h"

#define HUGE_PAGE ((size_t)2 << 20)
#define ALIGNMENT 16U
#define WAIT_MAX 32U

/**
 * us_alloc() - memory that is not cleared; large stretches ask for huge pages.
 * @size: bytes.
 *
 * Return: NULL when there is none.
 */
void *us_alloc(size_t size)
{
    void *memory;

    if (size < HUGE_PAGE)
        return malloc(size ? size : 1);
    memory = aligned_alloc(HUGE_PAGE, (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
    if (memory)
        (void)madvise(memory, size, MADV_HUGEPAGE); /* a wish: refusal costs nothing */
    return memory;
}

/**
 * us_free() - gives back what us_alloc() gave.
 * @memory: may be NULL.
 */
void us_free(void *memory)
{
    free(memory);
}

/**
 * next_offset() - where the next frame goes: packed tightly, so that many small frames stay in the cache.
 * @receiver: where frames land.
 * @mode: enum us_mode; behind a virtio header the IP header is the one that is aligned.
 */
static uint32_t next_offset(const struct us_receiver *receiver, unsigned int mode)
{
    uint32_t at = (receiver->used + ALIGNMENT - 1) & ~(ALIGNMENT - 1);

    return mode & US_MODE_VNET ? at + ALIGNMENT - US_VNET_LENGTH : at;
}

/**
 * us_receive() - reads frames until there are none or the batch is full.
 * @receiver: where they land; the batch before is forgotten.
 * @fd: non-blocking, one frame a read.
 * @mode: enum us_mode.
 *
 * Return: descriptors filled, or -errno when nothing was read because of an error.
 */
int us_receive(struct us_receiver *receiver, int fd, unsigned int mode)
{
    const size_t frame_max = US_PACKET_MAX + US_VNET_LENGTH;

    us_gro_begin(receiver);
    while (receiver->count < receiver->slots && receiver->piece_count < receiver->slots) {
        uint32_t at = next_offset(receiver, mode);
        ssize_t length;

        if (at > receiver->arena_size || receiver->arena_size - at < frame_max)
            break;
        length = read(fd, receiver->arena + at, frame_max);
        if (length < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK || receiver->used)
                break;
            return -errno;
        }
        if (length == 0)
            break;
        receiver->used = at + (uint32_t)length;
        us_take_frame(receiver, at, (uint32_t)length, mode);
    }
    return (int)receiver->count;
}

/**
 * us_receive_packets() - the same for packets that are in memory already.
 * @receiver: where they land; the batch before is forgotten.
 * @data: the packets, one behind the other.
 * @lengths: of each, 32 bits in this machine's order.
 * @count: of them.
 * @mode: enum us_mode.
 *
 * Return: descriptors filled, or -ENOBUFS when the arena is too small for all.
 */
int us_receive_packets(struct us_receiver *receiver, const uint8_t *data, const uint8_t *lengths,
                       uint32_t count, unsigned int mode)
{
    uint32_t n;

    us_gro_begin(receiver);
    if (count > receiver->slots)
        return -ENOBUFS;
    for (n = 0; n < count; n++) {
        uint32_t at = next_offset(receiver, mode), length;

        memcpy(&length, lengths + n * sizeof length, sizeof length);
        if (at > receiver->arena_size || receiver->arena_size - at < length)
            return -ENOBUFS;
        memcpy(receiver->arena + at, data, length);
        data += length;
        receiver->used = at + length;
        us_take_frame(receiver, at, length, mode);
    }
    return (int)receiver->count;
}

/**
 * us_poison() - ends a batch by force: its bytes become rubbish and its handles invalid.
 * @receiver: where the batch landed.
 */
void us_poison(struct us_receiver *receiver)
{
    memset(receiver->arena, 0xdd, receiver->used);
    memset(receiver->descriptors, 0xdd, receiver->count * sizeof *receiver->descriptors);
    memset(receiver->smalls, 0xdd, (size_t)receiver->count * US_SMALL);
    us_gro_begin(receiver);
}

/**
 * write_frame() - one frame.
 * @fd: non-blocking.
 * @frame: headers and payload.
 *
 * Return: 0 or errno.
 */
static int write_frame(int fd, const struct us_outgoing *frame)
{
    struct iovec parts[1 + US_SPANS];
    int count = 1;
    unsigned int n;

    parts[0].iov_base = (void *)(uintptr_t)frame->headers;
    parts[0].iov_len = frame->headers_length;
    for (n = 0; n < US_SPANS && frame->payload[n].length; n++) {
        parts[count].iov_base = frame->payload[n].bytes;
        parts[count].iov_len = frame->payload[n].length;
        count++;
    }

    while (writev(fd, parts, count) < 0)
        if (errno != EINTR)
            return errno;
    return 0;
}

/**
 * write_raw() - one ready packet.
 * @fd: non-blocking.
 * @transmit: the record.
 * @mode: enum us_mode; a virtio header of zeros promises and asks nothing.
 *
 * Return: 0 or errno.
 */
static int write_raw(int fd, const struct us_transmit *transmit, unsigned int mode)
{
    struct us_outgoing frame;

    memset(frame.headers, 0, US_VNET_LENGTH);
    memset(frame.payload, 0, sizeof frame.payload);
    frame.headers_length = mode & US_MODE_VNET ? US_VNET_LENGTH : 0;
    frame.payload[0].bytes = (uint8_t *)(uintptr_t)transmit->data;
    frame.payload[0].length = transmit->length;
    return write_frame(fd, &frame);
}

/**
 * stops() - whether an error ends the batch. What the device refuses for its contents is lost on the
 * wire, as with any network card: trying again would hold everything else up.
 * @error: errno of a write.
 */
static int stops(int error)
{
    return error && error != EINVAL && error != EMSGSIZE && error != ENOMEM;
}

/**
 * send_one() - one record, from where it got stuck last time.
 * @fd: non-blocking.
 * @mode: enum us_mode.
 * @transmit: done and segs move on.
 *
 * Return: 0 or errno.
 */
static int send_one(int fd, unsigned int mode, struct us_transmit *transmit)
{
    struct us_outgoing frame;
    int error;

    if (!us_transmit_check(transmit))
        return EBADMSG;
    if (transmit->kind == US_TRANSMIT_RAW) {
        error = write_raw(fd, transmit, mode);
        return stops(error) ? error : 0;
    }
    while (us_next_outgoing(transmit, mode, &frame)) {
        error = write_frame(fd, &frame);
        if (stops(error))
            return error;
        transmit->done += frame.payload_length;
        transmit->segs += frame.segs;
    }
    return 0;
}

/**
 * us_send() - writes records until the device is full.
 * @fd: non-blocking, one frame a write.
 * @mode: enum us_mode.
 * @records: struct us_transmit each; done and segs say how far each got. Behind them stands what they carry.
 * @count: of them.
 *
 * Return: records that left wholly, with << 32 why it stopped: 0 when everything left, EBADMSG when a record is not one.
 */
int64_t us_send(int fd, unsigned int mode, uint8_t *records, uint32_t count)
{
    struct us_transmit *transmits = us_transmits(records, count);
    uint32_t n;
    int error = 0;

    for (n = 0; n < count; n++) {
        error = send_one(fd, mode, &transmits[n]);
        if (error)
            break;
    }
    return (int64_t)error << 32 | n;
}

/**
 * us_wait() - until something is readable.
 * @fds: up to 32; a negative one is never ready.
 * @count: of them.
 * @timeout_ns: negative for ever.
 *
 * Return: a bit for each that is readable, closed or broken; 0 at the timeout or after a signal; -errno.
 */
int us_wait(const int *fds, uint32_t count, int64_t timeout_ns)
{
    struct pollfd polled[WAIT_MAX];
    struct timespec timeout;
    uint32_t n;
    unsigned int ready = 0;

    if (count > WAIT_MAX - 1)
        return -EINVAL;
    for (n = 0; n < count; n++) {
        polled[n].fd = fds[n];
        polled[n].events = POLLIN;
        polled[n].revents = 0;
    }
    timeout.tv_sec = (time_t)(timeout_ns / 1000000000);
    timeout.tv_nsec = (long)(timeout_ns % 1000000000);
    if (ppoll(polled, count, timeout_ns < 0 ? NULL : &timeout, NULL) < 0)
        return errno == EINTR ? 0 : -errno;
    for (n = 0; n < count; n++)
        if (polled[n].revents)
            ready |= 1U << n;
    return (int)ready;
}

/**
 * us_wait_and_receive() - us_wait(), and a batch at once when the first descriptor is readable.
 * @receiver: where it lands.
 * @mode: enum us_mode.
 * @fds: the first is the device.
 * @count: of them.
 * @timeout_ns: negative for ever.
 *
 * Return: as us_wait(), with the number of descriptors filled << 32. That the device failed is for the next
 * us_receive() to find.
 */
int64_t us_wait_and_receive(struct us_receiver *receiver, unsigned int mode, const int *fds, uint32_t count,
                            int64_t timeout_ns)
{
    int64_t ready = us_wait(fds, count, timeout_ns);

    if (ready > 0 && ready & 1) {
        int filled = us_receive(receiver, fds[0], mode);

        if (filled > 0)
            ready |= (int64_t)filled << 32;
    }
    return ready;
}

static int64_t monotonic_ns(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

/**
 * us_watch() - until a packet lies at the device that nobody comes for.
 * @fds: the bell, readable when the caller is wanted for something else; the device; and what is readable when the
 * bell or the armed device is.
 * @turns: odd while somebody reads the device; a change says that somebody begins or stops to.
 * @timeout_ns: negative for ever.
 * @tick_ns: between two looks at the device, which wake nobody; 0: to be woken by the third descriptor instead.
 * @grace_ns: in which a reader may still come for a packet that was seen.
 *
 * Return: enum us_watched; -errno.
 */
int us_watch(const int *fds, const int64_t *turns, int64_t timeout_ns, int64_t tick_ns, int64_t grace_ns)
{
    int64_t until = monotonic_ns() + timeout_ns;
    int64_t seen = 1; /* odd: no packet was seen at the last look */

    for (;;) {
        int64_t left = timeout_ns < 0 ? INT64_MAX : until - monotonic_ns();
        int64_t pause = !(seen & 1) ? grace_ns : tick_ns ? tick_ns : INT64_MAX;
        int woken_by = seen & 1 && !tick_ns ? 2 : 0;
        int64_t now_seen;
        int ready;

        if (left <= 0)
            return US_WATCHED_LONG;
        if (pause > left)
            pause = left;
        ready = us_wait(&fds[woken_by], 1, pause == INT64_MAX ? -1 : pause);
        if (ready < 0)
            return ready;
        if (ready && (!woken_by || us_wait(&fds[0], 1, 0)))
            return US_WATCHED_BELL;
        if (woken_by && !ready)
            continue; /* a signal, or the timeout */
        now_seen = __atomic_load_n(turns, __ATOMIC_RELAXED);
        if (!(now_seen & 1) && !us_wait(&fds[1], 1, 0))
            now_seen = 1;
        if (!(now_seen & 1) && (now_seen == seen || !grace_ns))
            return US_WATCHED_LEFT_OVER;
        if (!tick_ns && (now_seen & 1 || !(seen & 1)))
            return US_WATCHED_TAKEN;
        seen = now_seen;
    }
}
