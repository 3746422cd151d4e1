/* Latencies in nanoseconds, in buckets of about 3 % each. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { STEPS = 32, BUCKETS = 64 * STEPS };

struct histogram {
    uint64_t counts[BUCKETS], total, most;
};

static inline unsigned bucket_of(uint64_t value)
{
    if (value < STEPS)
        return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - 5u; /* the 6 highest bits tell the bucket */
    return (shift + 1) * STEPS + (unsigned)(value >> shift) - STEPS;
}

static inline void note(struct histogram *h, uint64_t value)
{
    h->counts[bucket_of(value)]++;
    h->total++;
    if (value > h->most)
        h->most = value;
}

/* The lower bound of the bucket that holds the value which `share` of all don't exceed. */
static inline uint64_t quantile(const struct histogram *h, double share)
{
    uint64_t rank = (uint64_t)(share * (double)h->total), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += h->counts[i];
        if (seen > rank)
            return i < STEPS ? i : (uint64_t)(i % STEPS + STEPS) << (i / STEPS - 1);
    }
    return h->most;
}

#endif
