/* The kernels for one set of vector instructions. Included by native.c, which sets LANES (elements in a vector), N (gives a name the path's suffix), FN and ENTRY (storage class and instruction set of functions). */

/* Elements that are located together. */
#define GROUP (LANES == 16 ? 32 : LANES)

#define V(type, name) typedef type N(name) __attribute__((vector_size(LANES * sizeof(type))))
V(float, vf);
V(double, vd);
V(int32_t, vi);
V(uint32_t, vu);
V(uint16_t, vh);
V(uint8_t, vb);
#define vf N(vf)
#define vd N(vd)
#define vi N(vi)
#define vu N(vu)
#define vh N(vh)
#define vb N(vb)
typedef uint16_t N(vp) __attribute__((vector_size(LANES))); /* pairs of bytes */
typedef uint8_t N(vn) __attribute__((vector_size(LANES / 2)));
#define vp N(vp)
#define vn N(vn)

#define SELECT(mask, yes, no) (((yes) & (mask)) | ((no) & ~(mask)))

/* x within low and high; NaN stays NaN. */
FN vf N(clip)(vf x, vf low, vf high) {
#if LANES == 16
    /* These return their second operand where one is NaN. */
    return (vf)_mm512_max_ps((__m512)low, _mm512_min_ps((__m512)high, (__m512)x));
#elif LANES == 8
    return (vf)_mm256_max_ps((__m256)low, _mm256_min_ps((__m256)high, (__m256)x));
#else
    vi above = x > high, below = x < low;
    return (vf)SELECT(below, (vi)low, SELECT(above, (vi)high, (vi)x));
#endif
}

FN vf N(load)(int type, const char *p) {
    vf value;
    if (type == F64) {
        vd wide;
        memcpy(&wide, p, sizeof wide);
        return __builtin_convertvector(wide, vf);
    }
    if (type == F32) {
        memcpy(&value, p, sizeof value);
        return value;
    }
    vh half;
    memcpy(&half, p, sizeof half);
    if (type == BF16) return (vf)(__builtin_convertvector(half, vu) << 16);
#if LANES == 16
    return (vf)_mm512_cvtph_ps((__m256i)half);
#elif LANES == 8
    return (vf)_mm256_cvtph_ps((__m128i)half);
#else
    for (int i = 0; i < LANES; i++) value[i] = from_f16(half[i]);
    return value;
#endif
}

/* Streaming stores bypass the caches: memory is not read before it is written. `p` is then aligned to the vector. */
#if LANES == 16
#define STREAM(p, v)                                                                                    \
    (sizeof(v) == 128 ? (_mm512_stream_si512((void *)(p), ((__m512i *)&(v))[0]),                        \
                         _mm512_stream_si512((void *)((p) + 64), ((__m512i *)&(v))[sizeof(v) == 128]))  \
     : sizeof(v) == 64 ? _mm512_stream_si512((void *)(p), *(__m512i *)&(v))                             \
                       : _mm256_stream_si256((void *)(p), *(__m256i *)&(v)))
#elif LANES == 8
#define STREAM(p, v)                                                                                    \
    (sizeof(v) == 64 ? (_mm256_stream_si256((void *)(p), ((__m256i *)&(v))[0]),                         \
                        _mm256_stream_si256((void *)((p) + 32), ((__m256i *)&(v))[sizeof(v) == 64]))    \
     : sizeof(v) == 32 ? _mm256_stream_si256((void *)(p), *(__m256i *)&(v))                             \
                       : _mm_stream_si128((void *)(p), *(__m128i *)&(v)))
#else
#define STREAM(p, v) memcpy(p, &(v), sizeof(v))
#endif
#define PUT(v)                            \
    do {                                  \
        if (stream) STREAM(p, v);         \
        else memcpy(p, &(v), sizeof(v));  \
    } while (0)

/* Rounds to nearest even, as torch does. */
FN void N(store)(int type, int stream, char *p, vf value) {
    if (type == F32) {
        PUT(value);
        return;
    }
    vh half;
    if (type == BF16) {
        vu bits = (vu)value, rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
        vi nan = (vi)(value != value);
        half = __builtin_convertvector((vu)SELECT(nan, (vi)(bits >> 16 | 0x40), (vi)rounded), vh);
    } else {
#if LANES == 16
        half = (vh)_mm512_cvtps_ph((__m512)value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif LANES == 8
        half = (vh)_mm256_cvtps_ph((__m256)value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
        for (int i = 0; i < LANES; i++) half[i] = to_f16(value[i]);
#endif
    }
    PUT(half);
}

/* out = grad * factor. */
FN void N(product)(int type, int stream, const char *grad, vf factor, char *p) {
    if (type == F64) {
        vd wide;
        memcpy(&wide, grad, sizeof wide);
        wide *= __builtin_convertvector(factor, vd);
        PUT(wide);
    } else {
        N(store)(type, stream, p, N(load)(type, grad) * factor);
    }
}

#include "native_lookup.h"

/* ReLU keeps -0 and NaN, as torch's does. */
FN void N(relu)(int type, int stream, const char *in, char *p) {
    if (type == F64) {
        vd x;
        memcpy(&x, in, sizeof x);
        typedef int64_t N(vl) __attribute__((vector_size(LANES * 8)));
        N(vl) y = (N(vl))x & ~(N(vl))(x < 0);
        PUT(y);
    } else if (type == F32) {
        vi x;
        memcpy(&x, in, sizeof x);
        x &= ~((vf)x < 0);
        PUT(x);
    } else {
        typedef int16_t N(vs) __attribute__((vector_size(LANES * 2)));
        N(vs) x, infinity = (N(vs)){0} + (int16_t)(type == BF16 ? 0xFF80 : 0xFC00);
        memcpy(&x, in, sizeof x);
        /* Negative numbers are 0x8001 to infinity; what follows is NaN. */
        x &= ~((x < 0) & (x != INT16_MIN) & (x <= infinity));
        PUT(x);
    }
}

#include "native_codes.h"

/* What LANES elements from `k` on become once their g, in fixed point for codes, is known. */
FN void N(put)(int what, int type, int stream, int bits, vf g, int64_t k, vu random, const struct place *at) {
    const int64_t size = SIZES[type];
    if (what == ENCODE) {
        N(relu)(type, stream, at->x + k * size, at->out + k * size);
        N(put_codes)(bits, at->codes_out + k * bits / 8, g, random);
    } else {
        N(product)(type, stream, at->grad + k * size, g, at->out + k * size);
    }
}

#if LANES == 16
#include "native_core.h"
#endif

/* Up to BLOCK elements, a multiple of GROUP. In two rounds, because a row's place is known long after its x is read;
   meanwhile memory for the next round is fetched. */
FN void N(block)(int what, int type, int stream, const struct call *call, const struct table *table,
                 int64_t count, uint64_t index, struct place at) {
    const int size = SIZES[type];
    uint16_t rows[BLOCK] __attribute__((aligned(64)));
    float ts[BLOCK] __attribute__((aligned(64)));
    const struct N(random) random = N(random_of)(call, index);
    for (int64_t i = 0; i < count; i += GROUP) {
        N(locate_at)(table, type, at.x + i * size, rows + i, ts + i);
        for (int64_t j = i * size; j < (i + GROUP) * size; j += 64) {
            if (what == BACKWARD) __builtin_prefetch(at.grad + j);
            if (!stream) __builtin_prefetch(at.out + j, 1);
        }
    }
    for (int64_t i = 0; i < count; i += GROUP) {
        for (int64_t j = i * size; j < (i + GROUP) * size; j += 64)
            __builtin_prefetch((const void *)((uintptr_t)at.x + (uintptr_t)(BLOCK * size + j)));
        const uint64_t first = index + (uint64_t)i;
        const vu hash = what == ENCODE ? N(hash)(&random, N(places)(first)) : (vu){0};
#pragma GCC unroll 2
        for (int v = 0; v < GROUP / LANES; v++) {
            const int64_t k = i + v * LANES;
            vf g = N(value)(table->rows, rows + i, ts + i, v);
            if (what == ENCODE) g = N(fixed)(call->bits, g, table);
            N(put)(what, type, stream, call->bits, g, k, N(bits)(hash, GROUP > LANES ? v : (int)(first >> 4 & 1)), &at);
        }
    }
}

/* The same for codes. */
FN void N(decode_block)(int type, int stream, const struct call *call, const struct table *table, int64_t count,
                        struct place at) {
    const int64_t size = SIZES[type], bits = call->bits;
    const struct N(levels) levels = N(levels_of)((int)bits, table->low, table->high);
    if (bits == 4) {
        for (int64_t k = 0; k < count; k += LANES)
            N(product)(type, stream, at.grad + k * size, N(level)(4, at.codes + k / 2, &levels), at.out + k * size);
    } else {
        for (int64_t k = 0; k < count; k += LANES)
            N(product)(type, stream, at.grad + k * size, N(level)(8, at.codes + k, &levels), at.out + k * size);
    }
}

/* Elements begin to end of one row. */
FN void N(loop)(int what, int type, const struct call *shared, int64_t row, int64_t begin, int64_t end) {
    const struct call call = *shared; /* a copy, which no store can change */
    const struct table table = table_of(call.words + row * WORDS);
    const int64_t size = SIZES[type];
#if LANES == 16
    const struct core core = core_of(what, call.bits, call.words + row * WORDS);
    /* Where the user has denormal numbers flushed, the core would take them for 0. */
    const int has_core = what != DECODE && core.terms && !call.flushed;
#define BLOCK_OF(stream, count, index, at)                                                       \
    do {                                                                                         \
        if (has_core) N(mixed)(what, type, stream, &call, &table, &core, count, index, at);      \
        else N(block)(what, type, stream, &call, &table, count, index, at);                      \
    } while (0)
#else
#define BLOCK_OF(stream, count, index, at) N(block)(what, type, stream, &call, &table, count, index, at)
#endif
    int64_t wide = GROUP; /* elements that are read from the whole core before its inner half is tried again */
    for (int64_t done, before = 0; begin + GROUP <= end; begin += done, before = done) {
        (void)before, (void)wide;
        const uint64_t index = index_of(&call, row, begin), beyond = ((index >> 33) + 1) << 33;
        int64_t left = (end - begin) / GROUP * GROUP;
        if (what == ENCODE && index + (uint64_t)left > beyond) left = (int64_t)(beyond - index);
        const struct place at = place_of(what, &call, row, begin, size);
        done = left < BLOCK ? left : BLOCK;
        if (what == DECODE) {
            N(decode_block)(type, call.stream, &call, &table, left, at);
            done = left;
            continue;
        }
#if LANES == 16
        if (has_core) {
            done = N(run_core)(what, type, call.stream, 1, &call, &core, NULL, left, index, at);
            if (done) {
                if (done > wide) wide = GROUP;
                continue;
            }
            done = N(run_core)(what, type, call.stream, 0, &call, &core, NULL, wide < left ? wide : left, index, at);
            if (done) {
                if (wide < LONGEST) wide *= 2;
                continue;
            }
            done = left < BLOCK ? left : BLOCK;
            /* A group with elements beyond the core is seldom followed by another. */
            if (before > BLOCK) done = GROUP;
        }
#endif
        BLOCK_OF(call.stream, done, index, at);
    }
    if (begin == end) return;
    /* The rest goes through buffers, which may be read and written as a whole. */
    char grad[GROUP * 8] = {0}, x[GROUP * 8] = {0}, out[GROUP * 8];
    uint8_t codes[GROUP] = {0}, codes_out[GROUP];
    const struct place from = place_of(what, &call, row, begin, size);
    const size_t length = (size_t)((end - begin) * size), bytes = (size_t)((end - begin) * call.bits + 7) / 8;
    if (what != ENCODE) memcpy(grad, from.grad, length);
    if (what != DECODE) memcpy(x, from.x, length);
    if (what == DECODE) memcpy(codes, from.codes, bytes);
    const struct place buffers = {grad, x, codes, out, codes_out};
    if (what == DECODE) N(decode_block)(type, 0, &call, &table, GROUP, buffers);
    else BLOCK_OF(0, GROUP, index_of(&call, row, begin), buffers);
#undef BLOCK_OF
    memcpy(from.out, out, length);
    if (what == ENCODE) {
        if ((end - begin) * call.bits % 8) codes_out[bytes - 1] &= 15;
        memcpy(from.codes_out, codes_out, bytes);
    }
}

#define KERNEL(what, type)                                                                                        \
    ENTRY void N(what##_##type)(const struct call *call, int64_t row, int64_t begin, int64_t end) {               \
        N(loop)(what, type, call, row, begin, end);                                                               \
    }
#define KERNELS_OF(what) KERNEL(what, F32) KERNEL(what, F64) KERNEL(what, F16) KERNEL(what, BF16)
KERNELS_OF(BACKWARD)
KERNELS_OF(ENCODE)
KERNELS_OF(DECODE)

static const kernel N(KERNELS)[3][4] = {
    {N(BACKWARD_F32), N(BACKWARD_F64), N(BACKWARD_F16), N(BACKWARD_BF16)},
    {N(ENCODE_F32), N(ENCODE_F64), N(ENCODE_F16), N(ENCODE_BF16)},
    {N(DECODE_F32), N(DECODE_F64), N(DECODE_F16), N(DECODE_BF16)},
};

#undef KERNEL
#undef KERNELS_OF
#undef V
#undef vf
#undef vd
#undef vi
#undef vu
#undef vh
#undef vb
#undef vp
#undef vn
#undef SELECT
#undef STREAM
#undef PUT
#undef GROUP
#undef LANES
#undef N
#undef FN
#undef ENTRY
