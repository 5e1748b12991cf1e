/*
 * What Python sees of the C core: cffi reads this file, and core.h includes it, so there is one truth.
 * Plain declarations only: cffi knows no preprocessor.
 */

/* What a descriptor describes. */
enum us_kind {
    US_TCP = 1,     /* a run of one TCP flow, of one or more wire segments */
    US_PACKET = 2,  /* a valid packet that Python parses */
    US_REFUSED = 3  /* a packet that a rule refuses: see reason */
};

/* Why a packet was refused: the same numbers as ustack.drops.Drop. */
enum us_drop {
    US_DROP_NONE = 0,
    US_DROP_IP_TRUNCATED = 1,
    US_DROP_IP_VERSION = 2,
    US_DROP_IP_HEADER_LENGTH = 3,
    US_DROP_IP_TOTAL_LENGTH = 4,
    US_DROP_IP_CHECKSUM = 5,
    US_DROP_IP_FRAGMENT = 6,
    US_DROP_IPV6_EXTENSION = 7,
    US_DROP_IPV6_EXTENSION_CHAIN = 8,
    US_DROP_TCP_TRUNCATED = 9,
    US_DROP_TCP_DATA_OFFSET = 10,
    US_DROP_TCP_CHECKSUM = 11,
    US_DROP_UDP_TRUNCATED = 12,
    US_DROP_UDP_LENGTH = 13,
    US_DROP_UDP_CHECKSUM = 14,
    US_DROP_ICMP_TRUNCATED = 15,
    US_DROP_ICMP_CHECKSUM = 16,
    US_DROP_VNET_HEADER = 17,
    US_DROP_VNET_GSO = 18,
    US_DROP_FRAME_EMPTY = 19,
    US_DROP_FRAME_TOO_LONG = 20,
    US_DROP_IPV6_MAPPED = 21
};

/* Why a segment started a run of its own though its flow had one open. */
enum us_apart {
    US_APART_EMPTY = 0,     /* no payload here, or none in the open run */
    US_APART_FLAGS = 1,     /* a flag that a run cannot carry */
    US_APART_ENDED = 2,     /* the run has a FIN already */
    US_APART_SEQUENCE = 3,  /* not adjoining */
    US_APART_HOPS = 4,      /* TOS (ECN with it) or TTL differ */
    US_APART_OPTIONS = 5,   /* options beside timestamps, or timestamps on one side only */
    US_APART_TS_VAL = 6,    /* the timestamp goes backwards */
    US_APART_ACK = 7,       /* the acknowledgement goes backwards */
    US_APART_CROWDED = 8,   /* no place in the table of open runs */
    US_APART_COUNT = 9
};

enum us_option_bits { US_OPTION_TS = 1, US_OPTION_OTHER = 2 };

/* Bytes for each descriptor in us_receiver.smalls. */
enum us_sizes { US_SMALL = 256 };

/* How frames are read and written. */
enum us_mode {
    US_MODE_VNET = 1,    /* each frame stands behind a struct virtio_net_hdr of 10 bytes */
    US_MODE_TRUSTED = 2  /* transport checksums are not verified */
};

/* One thing that arrived. Native byte order, but the key, which is the wire's own bytes. 96 bytes. */
struct us_descriptor {
    uint8_t kind;
    uint8_t reason;
    uint8_t tos;
    uint8_t ttl;
    uint16_t flags;
    uint16_t window;
    uint32_t seq;
    uint32_t ack;
    uint32_t ts_val;          /* of the first segment of the run */
    uint32_t ts_ecr;          /* of the last */
    uint32_t segs;            /* wire segments in the run */
    uint32_t segment_size;    /* largest payload of one wire segment */
    uint32_t payload_length;
    uint32_t handle;          /* of the payload: see us_receiver.handle_base */
    uint16_t urgent;
    uint8_t option_bits;
    uint8_t options_length;
    uint32_t packet_offset;   /* in the arena: the (first) IP packet */
    uint32_t packet_length;
    uint32_t options_offset;  /* in the arena: the raw TCP options */
    uint8_t key[36];          /* source 16, destination 16, source port 2, destination port 2 */
    uint8_t padding[4];
};

/* One stretch of payload in the arena; a run is a chain of them. */
struct us_piece {
    uint32_t offset;
    uint32_t length;
    uint32_t next;            /* index, or US_NO_PIECE */
};

/* One place in the table of open runs; live when its batch is the present one. */
struct us_open_run {
    uint32_t batch;
    uint32_t descriptor;
};

/* Where a batch of frames lands. The caller owns the five arrays and their sizes. */
struct us_receiver {
    uint8_t *arena;
    struct us_descriptor *descriptors;
    struct us_piece *pieces;
    uint32_t *tails;          /* by descriptor: the last piece of its run */
    uint8_t *smalls;          /* by descriptor, US_SMALL bytes each: its (first) IP packet once more, if that is no longer */
    uint32_t arena_size;
    uint32_t slots;           /* of descriptors, pieces and tails alike */
    uint32_t handle_base;     /* the handle of piece 0 */
    uint32_t used;            /* bytes of the arena */
    uint32_t count;           /* descriptors filled */
    uint32_t piece_count;
    uint32_t batch;           /* number of the present batch */
    uint64_t frames;          /* read so far */
    uint64_t merged;          /* frames that joined an open run */
    uint64_t apart[9];        /* by enum us_apart */
    struct us_open_run open_runs[1024];
};

struct us_range {
    uint64_t start;
    uint64_t end;
};

/* What the rings of one stack may take together, and have taken. */
struct us_pool {
    uint64_t used;            /* bytes */
    uint64_t held;            /* bytes beside them, which Python counts */
    uint64_t low;             /* tcp_mem, in bytes: below it there is no pressure (any more) */
    uint64_t pressure;        /* above it there is */
    uint64_t high;            /* more than this is never taken */
    uint64_t pressures;       /* how often pressure began */
    int64_t budget;           /* allocations that may still succeed, for tests; below 0: any number */
    uint32_t rings;           /* that count here */
    uint32_t pressed;         /* there is pressure */
    uint32_t references;
};

/* Memory that views may outlive the ring in. */
struct us_block {
    struct us_pool *pool;
    uint8_t *bytes;
    uint64_t size;
    uint32_t references;
};

/* Where bytes come from: one stretch of memory, or a chain of pieces. */
struct us_source {
    const uint8_t *bytes;
    uint64_t left;                        /* in this stretch */
    const struct us_receiver *receiver;   /* NULL: there is no next stretch */
    uint32_t next;
};

/* Text that was placed, and still lies where it landed. */
struct us_deferred {
    struct us_source from;
    uint64_t length;
};

/* Text that a send ring keeps outside of its block: somebody else's that never changes, or a block of before. */
struct us_loan {
    struct us_block *block;   /* that was ours; NULL: the bytes are somebody else's */
    const uint8_t *bytes;
    uint64_t start;           /* absolute offsets */
    uint64_t end;
};

/* A byte stream's window by absolute offsets: a send ring or a receive ring. */
struct us_ring {
    struct us_pool *pool;     /* may be NULL: nobody counts */
    struct us_block *block;   /* NULL until the first byte */
    uint64_t base;            /* the offset that lies at byte 0 of the block */
    uint64_t start;           /* oldest kept offset, but for the loans */
    uint64_t end;             /* one past the last in-order byte */
    uint64_t capacity;
    struct us_loan *loans;    /* of a send ring: they end at start, in order; NULL when there are none */
    uint64_t lent_from;       /* oldest kept offset of the loans */
    struct us_range *ranges;  /* beyond end, ascending, disjoint, never touching */
    uint32_t range_count;
    uint32_t range_slots;
    uint32_t range_limit;
    uint32_t loan_count;
    uint32_t deferred_count;
    uint64_t deferred_length; /* bytes before end that are still in the arena */
    struct us_deferred deferred[4]; /* in order */
};

struct us_span {
    uint8_t *bytes;
    uint64_t length;
};

enum us_transmit_kind { US_TRANSMIT_TCP = 1, US_TRANSMIT_RAW = 2 };

/* One thing that leaves. Host byte order, but the addresses. 144 bytes. */
struct us_transmit {
    uint8_t source[16];
    uint8_t destination[16];
    uint16_t source_port;
    uint16_t destination_port;
    uint32_t seq;
    uint32_t ack;
    uint16_t flags;
    uint16_t window;
    uint16_t urgent;
    uint16_t identification;
    uint8_t tos;
    uint8_t ttl;
    uint8_t dont_fragment;
    uint8_t options_length;
    uint32_t segment_size;    /* cut here; 0: one segment */
    uint32_t flow_label;
    uint32_t length;          /* of the payload; of the packet when raw */
    uint8_t kind;
    uint8_t padding[3];
    uint64_t ring;            /* struct us_ring *, or 0: then data */
    uint64_t at;              /* absolute offset in the ring */
    uint64_t data;            /* payload without a ring, or the raw packet: where it lies, counted from the first record */
    uint8_t options[40];
    uint32_t done;            /* out: payload bytes that left */
    uint32_t segs;            /* out: wire segments that left */
};

/* memory */
void *us_alloc(size_t size);
void us_free(void *memory);

/* in */
int us_receive(struct us_receiver *receiver, int fd, unsigned int mode);
int us_receive_packets(struct us_receiver *receiver, const uint8_t *data, const uint8_t *lengths,
                       uint32_t count, unsigned int mode);
void us_poison(struct us_receiver *receiver);
int64_t us_payload_copy(const struct us_receiver *receiver, uint32_t handle, uint64_t skip, uint64_t length,
                        uint8_t *out);

/* out */
int64_t us_send(int fd, unsigned int mode, uint8_t *records, uint32_t count);
int64_t us_cut(uint8_t *record, uint8_t *out, uint64_t room);

/* checksum */
unsigned int us_checksum(const uint8_t *data, size_t length, unsigned int initial);

/* rings */
struct us_pool *us_pool_new(void);
void us_pool_release(struct us_pool *pool);
struct us_ring *us_ring_new(struct us_pool *pool, uint64_t capacity, uint64_t at, uint32_t range_limit);
void us_ring_free(struct us_ring *ring);
int us_ring_resize(struct us_ring *ring, uint64_t capacity);
void us_ring_trim(struct us_ring *ring);
void us_ring_restart(struct us_ring *ring, uint64_t at);
void us_ring_prune(struct us_ring *ring);
int64_t us_ring_write(struct us_ring *ring, const uint8_t *data, uint64_t length);
int64_t us_ring_borrow(struct us_ring *ring, const uint8_t *data, uint64_t length);
int us_ring_copy(struct us_ring *ring, uint64_t at, uint64_t length, uint8_t *out);
int us_ring_release(struct us_ring *ring, uint64_t upto);
int64_t us_ring_place(struct us_ring *ring, uint64_t at, const uint8_t *data, uint64_t skip, uint64_t length);
int64_t us_ring_place_run(struct us_ring *ring, uint64_t at, const struct us_receiver *receiver,
                          uint32_t handle, uint64_t skip, uint64_t length);
int64_t us_ring_read(struct us_ring *ring, uint8_t *out, uint64_t length);
void us_ring_settle(struct us_ring *ring);
uint32_t us_ring_find(const struct us_ring *ring, uint64_t at);
int64_t us_ring_take(struct us_ring *ring, uint64_t length, struct us_span *spans);
int us_ring_spans(struct us_ring *ring, uint64_t at, uint64_t length, struct us_span *spans);
struct us_block *us_block_hold(struct us_ring *ring);
void us_block_release(struct us_block *block);

/* waiting */
int us_wait(const int *fds, uint32_t count, int64_t timeout_ns);

/* what us_watch() has seen: its timeout, the bell, a packet that nobody took, one that somebody took */
enum us_watched {
    US_WATCHED_LONG = 0,
    US_WATCHED_BELL = 1,
    US_WATCHED_LEFT_OVER = 2,
    US_WATCHED_TAKEN = 3,
};

int us_watch(const int *fds, const int64_t *turns, int64_t timeout_ns, int64_t tick_ns, int64_t grace_ns);
int64_t us_wait_and_receive(struct us_receiver *receiver, unsigned int mode, const int *fds, uint32_t count,
                            int64_t timeout_ns);
