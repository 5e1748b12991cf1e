/* The internet checksum (RFC 1071), at the speed of memory. */
#include "core.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Sums of 32-bit words in 64-bit lanes cannot overflow below 16 GiB; native byte order throughout
 * (RFC 1071 section 2 B: the sum does not mind), so that folding gives the bytes as they lie in memory. */

/**
 * sum_words() - the portable sum.
 * @data: any alignment.
 * @length: bytes; a last odd part is padded with zeros.
 */
static uint64_t sum_words(const uint8_t *data, size_t length)
{
    uint64_t a = 0, b = 0;
    uint32_t word[4];

    for (; length >= sizeof word; data += sizeof word, length -= sizeof word) {
        memcpy(word, data, sizeof word);
        a += (uint64_t)word[0] + word[1];
        b += (uint64_t)word[2] + word[3];
    }
    if (length) {
        memset(word, 0, sizeof word);
        memcpy(word, data, length);
        a += (uint64_t)word[0] + word[1];
        b += (uint64_t)word[2] + word[3];
    }
    return a + b;
}

#if defined(__x86_64__)
/**
 * sum_avx2() - 128 bytes a turn.
 * @data: any alignment.
 * @length: bytes, of which all whole blocks of 128 are summed.
 */
__attribute__((target("avx2"))) static uint64_t sum_avx2(const uint8_t *data, size_t length)
{
    const __m256i low = _mm256_set1_epi64x(0xffffffff);
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    uint64_t lanes[4];

    for (; length >= 128; data += 128, length -= 128) {
        __m256i v0 = _mm256_loadu_si256((const __m256i *)(const void *)data);
        __m256i v1 = _mm256_loadu_si256((const __m256i *)(const void *)(data + 32));
        __m256i v2 = _mm256_loadu_si256((const __m256i *)(const void *)(data + 64));
        __m256i v3 = _mm256_loadu_si256((const __m256i *)(const void *)(data + 96));

        a = _mm256_add_epi64(a, _mm256_add_epi64(_mm256_and_si256(v0, low), _mm256_srli_epi64(v0, 32)));
        b = _mm256_add_epi64(b, _mm256_add_epi64(_mm256_and_si256(v1, low), _mm256_srli_epi64(v1, 32)));
        c = _mm256_add_epi64(c, _mm256_add_epi64(_mm256_and_si256(v2, low), _mm256_srli_epi64(v2, 32)));
        d = _mm256_add_epi64(d, _mm256_add_epi64(_mm256_and_si256(v3, low), _mm256_srli_epi64(v3, 32)));
    }
    a = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
    memcpy(lanes, &a, sizeof lanes);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}
#endif

/**
 * us_sum() - the unfolded sum of a stretch of bytes.
 * @data: any alignment.
 * @length: bytes; an odd last byte counts as if a zero followed.
 *
 * Sums may be added as long as every stretch but the last is of even length.
 */
uint64_t us_sum(const uint8_t *data, size_t length)
{
#if defined(__x86_64__)
    if (length >= 128 && __builtin_cpu_supports("avx2")) {
        size_t whole = length & ~(size_t)127;

        return sum_avx2(data, whole) + sum_words(data + whole, length - whole);
    }
#endif
    return sum_words(data, length);
}

/**
 * us_fold() - 64 bits to 16 with end-around carry.
 * @sum: from us_sum().
 *
 * Return: the sum (not its complement), native: stored with memcpy() it is in wire order.
 */
uint16_t us_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/**
 * us_sum_spans() - the sum of stretches that follow each other, of any lengths.
 * @spans: US_SPANS; the empty ones are last.
 */
uint64_t us_sum_spans(const struct us_span *spans)
{
    uint64_t sum = us_sum(spans[0].bytes, spans[0].length), before = spans[0].length;
    unsigned int n;

    for (n = 1; n < US_SPANS && spans[n].length; n++) {
        uint16_t next = us_fold(us_sum(spans[n].bytes, spans[n].length));

        if (before & 1)
            next = (uint16_t)((next << 8) | (next >> 8));
        sum += next;
        before += spans[n].length;
    }
    return sum;
}

/**
 * us_checksum() - the checksum of a stretch, as a number.
 * @data: any alignment.
 * @length: bytes.
 * @initial: a sum to start from (big-endian words), as of a pseudo-header.
 *
 * Return: the complement of the sum, as the 16-bit number that goes into the packet big-endian.
 */
unsigned int us_checksum(const uint8_t *data, size_t length, unsigned int initial)
{
    uint16_t folded = us_fold(us_sum(data, length));
    uint8_t wire[2];
    uint16_t sum;

    memcpy(wire, &folded, sizeof wire);
    sum = us_fold((uint64_t)us_load16(wire) + initial);
    return (uint16_t)~sum;
}
