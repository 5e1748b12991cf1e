/* The header that a TUN device puts before each frame with IFF_VNET_HDR: virtio 1.2 section 5.1.6, legacy
 * form of 10 bytes, in the host's byte order. */
#include "core.h"

#define NEEDS_CSUM 1U
#define DATA_VALID 2U
#define GSO_ECN 0x80U

struct virtio_header {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t header_length;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
};

_Static_assert(sizeof(struct virtio_header) == US_VNET_LENGTH, "virtio header");

/**
 * us_vnet_read() - what the kernel says of a frame.
 * @frame: the frame with its virtio header.
 * @length: of both.
 * @out: the answer.
 *
 * Return: 0, or the reason to refuse the frame.
 */
int us_vnet_read(const uint8_t *frame, size_t length, struct us_vnet *out)
{
    struct virtio_header header;
    unsigned int type;

    if (length < sizeof header)
        return US_DROP_VNET_HEADER;
    memcpy(&header, frame, sizeof header);
    length -= sizeof header;
    if ((header.flags & NEEDS_CSUM) && (size_t)header.csum_start + header.csum_offset + 2 > length)
        return US_DROP_VNET_HEADER;
    type = header.gso_type & ~GSO_ECN;
    if (type != US_GSO_NONE && (header.gso_size == 0 || (type != US_GSO_TCPV4 && type != US_GSO_TCPV6)))
        return US_DROP_VNET_GSO;
    out->vouched = (header.flags & (NEEDS_CSUM | DATA_VALID)) != 0;
    out->gso_type = (uint8_t)type;
    out->gso_size = type == US_GSO_NONE ? 0 : header.gso_size;
    return 0;
}

/**
 * us_vnet_write() - asks the kernel to sum, and to cut.
 * @out: 10 bytes.
 * @transmit: what leaves.
 * @ip_length: where the TCP header starts.
 * @headers_length: where the payload starts.
 * @is_cut: the payload is longer than one segment.
 */
void us_vnet_write(uint8_t *out, const struct us_transmit *transmit, uint32_t ip_length, uint32_t headers_length,
                   int is_cut)
{
    struct virtio_header header;

    memset(&header, 0, sizeof header);
    header.flags = NEEDS_CSUM;
    header.header_length = (uint16_t)headers_length;
    header.csum_start = (uint16_t)ip_length;
    header.csum_offset = 16;
    if (is_cut) {
        header.gso_type = us_transmit_is_v4(transmit) ? US_GSO_TCPV4 : US_GSO_TCPV6;
        if (transmit->flags & US_CWR)
            header.gso_type |= GSO_ECN;
        header.gso_size = (uint16_t)transmit->segment_size;
    }
    memcpy(out, &header, sizeof header);
}
