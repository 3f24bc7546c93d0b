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

/* Each element's cell, from the 64 of the table: by sign and octave. */
FN vi N(cells)(const struct table *table, vi bits) {
    vi octave = ((bits >> 23) & 255) - (126 + FIRST_OCTAVE);
#if LANES == 16
    /* Larger numbers are NaN, for which any cell will do: the selection reads the last 5 bits. */
    __m512i o = _mm512_max_epi32((__m512i)octave, _mm512_setzero_si512());
    const int32_t *c = table->cells;
    __m512i positive = _mm512_permutex2var_epi32(_mm512_load_si512(c), o, _mm512_load_si512(c + 16));
    __m512i negative = _mm512_permutex2var_epi32(_mm512_load_si512(c + 32), o, _mm512_load_si512(c + 48));
    return (vi)_mm512_mask_blend_epi32(_mm512_movepi32_mask((__m512i)bits), positive, negative);
#elif LANES == 8
    __m256i o = _mm256_min_epi32(_mm256_max_epi32((__m256i)octave, _mm256_setzero_si256()), _mm256_set1_epi32(31));
    o = (__m256i)((vi)o + ((bits >> 31) & OCTAVES));
    return (vi)_mm256_i32gather_epi32(table->cells, o, 4);
#else
    vi cell;
    for (int i = 0; i < LANES; i++) {
        int32_t o = octave[i] < 0 ? 0 : octave[i] > OCTAVES - 1 ? OCTAVES - 1 : octave[i];
        cell[i] = table->cells[o + (bits[i] < 0 ? OCTAVES : 0)];
    }
    return cell;
#endif
}

FN vi N(breaks)(const struct table *table, vi bits, vi row) {
    vi order = bits ^ ((bits >> 31) & 0x7FFFFFFF);
    for (const int32_t *b = table->breaks, *end = b + BREAK_WORDS * table->count; b < end; b += BREAK_WORDS) {
#if LANES == 16
        __m512i o = (__m512i)order, r = (__m512i)row, above = _mm512_set1_epi32(b[ABOVE]);
        __mmask16 right = _mm512_cmpeq_epi32_mask(r, _mm512_set1_epi32(b[CELL]));
        r = _mm512_mask_set1_epi32(r, _mm512_mask_cmpge_epi32_mask(right, o, above), b[RIGHT]);
        if (b[MIDDLE] >= 0) {
            __mmask16 middle = _mm512_cmpgt_epi32_mask(o, _mm512_set1_epi32(b[BELOW]));
            r = _mm512_mask_set1_epi32(r, _mm512_mask_cmplt_epi32_mask(middle, o, above), b[MIDDLE]);
        }
        row = (vi)r;
#else
        vi right = (row == b[CELL]) & (order >= b[ABOVE]);
        row = SELECT(right, b[RIGHT], row);
        if (b[MIDDLE] >= 0) {
            vi middle = (order > b[BELOW]) & (order < b[ABOVE]);
            row = SELECT(middle, b[MIDDLE], row);
        }
#endif
    }
    return row;
}

/* Steps 1 to 6 of table/layout.py: each element's row of coefficients, and its t. */
FN vi N(locate)(const struct table *table, vf x, float *ts) {
    vi bits = (vi)x, cell = N(cells)(table, bits), shift = cell & 31;
    vi row = (cell >> 5) + (((bits & 0x7FFFFF) >> shift) & -2);
    if (table->count) row = N(breaks)(table, bits, row);
    vf t = x - (vf)(bits & (((vi){0} - 2) << shift));
    memcpy(ts, &t, sizeof t);
    return row;
}

#if LANES == 16
/* `locate` for 32 elements at once: a row depends on the upper 16 bits of x alone, but for x that share them with the
   end of a break. Even words belong to the first 16 elements, odd words to the others. */
FN void N(locate_group)(const struct table *table, vf first, vf second, uint16_t *rows, float *ts) {
    const __m512i upper = _mm512_set1_epi32((int32_t)0xFFFF0000);
    __m512i h = _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_srli_epi32((__m512i)first, 16), (__m512i)second);
    __m512i octave = _mm512_and_si512(_mm512_srli_epi16(h, 7), _mm512_set1_epi16(255));
    octave = _mm512_subs_epu16(octave, _mm512_set1_epi16(126 + FIRST_OCTAVE));
    /* Beyond octave 31 is NaN, for which any cell will do: the selection reads the last 6 bits. */
    __m512i place = _mm512_or_si512(octave, _mm512_and_si512(_mm512_srli_epi16(h, 10), _mm512_set1_epi16(OCTAVES)));
    __m512i low = _mm512_load_si512(table->cells_16), high = _mm512_load_si512(table->cells_16 + 32);
    __m512i cell = _mm512_permutex2var_epi16(low, place, high), shift = _mm512_and_si512(cell, _mm512_set1_epi16(15));
    __m512i within = _mm512_srlv_epi16(_mm512_and_si512(h, _mm512_set1_epi16(127)), shift);
    __m512i row = _mm512_add_epi16(_mm512_srli_epi16(cell, 4), within);
    row = _mm512_add_epi16(row, row);
    if (table->count) {
        __m512i order = _mm512_xor_si512(h, _mm512_srli_epi16(_mm512_srai_epi16(h, 15), 1));
        __mmask32 unclear = 0;
        for (int i = 0; i < table->count; i++) {
            const int32_t *b = table->breaks + i * BREAK_WORDS;
            const int16_t *ends = table->ends_16[i];
            __mmask32 from = _mm512_cmpge_epi16_mask(order, _mm512_set1_epi16(ends[1]));
            unclear |= _mm512_mask_cmple_epi16_mask(from, order, _mm512_set1_epi16(ends[2]));
            __mmask32 right = _mm512_cmpeq_epi16_mask(row, _mm512_set1_epi16((int16_t)b[CELL]));
            right = _mm512_mask_cmpge_epi16_mask(right, order, _mm512_set1_epi16(ends[0]));
            row = _mm512_mask_mov_epi16(row, right, _mm512_set1_epi16((int16_t)b[RIGHT]));
        }
        if (unclear) {
            vi r = N(locate)(table, first, ts) | N(locate)(table, second, ts + 16) << 16;
            memcpy(rows, &r, sizeof r);
            return;
        }
    }
    __m512i edge = _mm512_and_si512(h, _mm512_sllv_epi16(_mm512_set1_epi16(-1), shift));
    vf t = first - (vf)_mm512_slli_epi32(edge, 16), u = second - (vf)_mm512_and_si512(edge, upper);
    _mm512_store_si512(rows, row);
    memcpy(ts, &t, sizeof t);
    memcpy(ts + 16, &u, sizeof u);
}
#endif

/* `locate` for GROUP elements at x. */
FN void N(locate_at)(const struct table *table, int type, const char *x, uint16_t *rows, float *ts) {
    vf end = (vf){0} + END, first = N(clip)(N(load)(type, x), -end, end);
#if LANES == 16
    N(locate_group)(table, first, N(clip)(N(load)(type, x + LANES * SIZES[type]), -end, end), rows, ts);
#else
    vh row = __builtin_convertvector(N(locate)(table, first, ts), vh);
    memcpy(rows, &row, sizeof row);
#endif
}

/* Step 7, for 8 elements whose rows are every second of `rows` if LANES is 16. A row is read as a whole and rows are
   transposed, which is faster than to gather numbers. */
#if LANES >= 8
FN __m256 N(cubic)(const char *first, const uint16_t *rows, const float *ts) {
    const int each = LANES / 8;
    __m256 r[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        r[i] = _mm256_insertf128_ps(
            _mm256_castps128_ps256(_mm_loadu_ps((const float *)(first + (size_t)rows[each * i] * 8))),
            _mm_loadu_ps((const float *)(first + (size_t)rows[each * (4 + i)] * 8)), 1);
    __m256d a = (__m256d)_mm256_unpacklo_ps(r[0], r[1]), b = (__m256d)_mm256_unpacklo_ps(r[2], r[3]);
    __m256d d = (__m256d)_mm256_unpackhi_ps(r[0], r[1]), e = (__m256d)_mm256_unpackhi_ps(r[2], r[3]);
    __m256 c0 = (__m256)_mm256_unpacklo_pd(a, b), c1 = (__m256)_mm256_unpackhi_pd(a, b);
    __m256 c2 = (__m256)_mm256_unpacklo_pd(d, e), c3 = (__m256)_mm256_unpackhi_pd(d, e);
    __m256 t = _mm256_loadu_ps(ts);
    return c0 + t * (c1 + t * (c2 + t * c3));
}
#endif

/* Step 7 for vector `v` of a group. */
FN vf N(value)(const char *first, const uint16_t *rows, const float *ts, int v) {
    ts += v * LANES;
#if LANES == 16
    rows += v;
    __m256 low = N(cubic)(first, rows, ts), high = N(cubic)(first, rows + 16, ts + 8);
    return (vf)_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
#elif LANES == 8
    return (vf)N(cubic)(first, rows, ts);
#else
    vf g;
    for (int i = 0; i < LANES; i++) {
        const float *c = (const float *)(first + (size_t)rows[i] * 8), t = ts[i];
        g[i] = c[0] + t * (c[1] + t * (c[2] + t * c[3]));
    }
    return g;
#endif
}

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

/* The 24 random bits of LANES elements from `index` on, see portable.py. */
FN vu N(random)(const struct call *call, uint64_t index) {
    vu lanes;
    for (int i = 0; i < LANES; i++) lanes[i] = (uint32_t)i;
    vu low = lanes + (uint32_t)index, h = low ^ call->key1;
    if ((index + LANES - 1) >> 32) {
        vu high = (vu){0} + (uint32_t)(index >> 32) - (vu)(low < (uint32_t)index);
        high = (high ^ high >> 16) * 0x7FEB352Du;
        high = (high ^ high >> 15) * 0x846CA68Bu;
        h ^= high ^ high >> 16;
    }
    h = (h ^ h >> 16) * 0x7FEB352Du;
    h = ((h ^ h >> 15) + call->key2) * 0x846CA68Bu;
    return (h ^ h >> 16) >> 8;
}

/* In fixed point, with 24 bits after the point: the sum of g, in steps, and the random number, rounded down. */
FN void N(put_codes)(int bits, uint8_t *codes, vf g, float low, float high, vu random) {
    const float levels = bits == 8 ? 255 : 15;
    const float scale = high > low ? levels / (high - low) * 0x1p24f : 0;
    vf scaled = (g - low) * scale, most = (vf){0} + levels * 0x1p24f;
#if LANES == 16
    /* The second operand, 0, is taken where the first is NaN. */
    scaled = (vf)_mm512_min_ps((__m512)most, _mm512_max_ps((__m512)scaled, _mm512_setzero_ps()));
#else
    scaled = N(clip)((vf)((vi)scaled & (vi)(scaled == scaled)), (vf){0}, most);
#endif
    vu sum = __builtin_convertvector(scaled, vu) + random;
#if LANES == 16
    if (bits == 4) {
        __m512i pairs = _mm512_srli_epi64((__m512i)sum, 24), odd = _mm512_srli_epi64((__m512i)sum, 52);
        __m512i packed = _mm512_or_si512(pairs, _mm512_and_si512(odd, _mm512_set1_epi64(0xF0)));
        _mm_storel_epi64((void *)codes, _mm512_cvtepi64_epi8(packed));
        return;
    }
#endif
    vb bytes = __builtin_convertvector(__builtin_convertvector(sum >> 24, vh), vb);
    if (bits == 8) {
        memcpy(codes, &bytes, sizeof bytes);
    } else {
        vp pairs = (vp)bytes;
        vn packed = __builtin_convertvector(pairs | pairs >> 4, vn);
        memcpy(codes, &packed, sizeof packed);
    }
}

FN vf N(get_codes)(int bits, const uint8_t *codes, float low, float high) {
    vb bytes;
    if (bits == 8) {
        memcpy(&bytes, codes, sizeof bytes);
    } else {
        vn packed;
        memcpy(&packed, codes, sizeof packed);
        vp pairs = __builtin_convertvector(packed, vp);
        bytes = (vb)((pairs | pairs << 4) & 0x0F0F);
    }
    vf code = __builtin_convertvector(__builtin_convertvector(__builtin_convertvector(bytes, vh), vi), vf);
    return low + code * (high - low) / (bits == 8 ? 255.0f : 15.0f);
}

/* Up to BLOCK elements, a multiple of GROUP. In two rounds, because a row's place is known long after its x is read;
   meanwhile memory for the next round is fetched. */
FN void N(block)(int what, int type, int stream, const struct call *call, const struct table *table, int64_t count,
                 uint64_t index, struct place at) {
    const int size = SIZES[type], bits = call->bits;
    uint16_t rows[BLOCK] __attribute__((aligned(64)));
    float ts[BLOCK] __attribute__((aligned(64)));
    for (int64_t i = 0; what != DECODE && i < count; i += GROUP) {
        N(locate_at)(table, type, at.x + i * size, rows + i, ts + i);
        for (int64_t j = i * size; j < (i + GROUP) * size; j += 64) {
            if (what == BACKWARD) __builtin_prefetch(at.grad + j);
            if (!stream) __builtin_prefetch(at.out + j, 1);
        }
    }
    for (int64_t i = 0; i < count; i += GROUP) {
        if (what != DECODE)
            for (int64_t j = i * size; j < (i + GROUP) * size; j += 64) __builtin_prefetch(at.x + BLOCK * size + j);
#pragma GCC unroll 2
        for (int v = 0; v < GROUP / LANES; v++) {
            const int64_t k = i + v * LANES, c = k * bits / 8;
            vf g = what == DECODE ? N(get_codes)(bits, at.codes + c, table->low, table->high)
                                  : N(value)(table->rows, rows + i, ts + i, v);
            if (what == ENCODE) {
                N(relu)(type, stream, at.x + k * size, at.out + k * size);
                N(put_codes)(bits, at.codes_out + c, g, table->low, table->high, N(random)(call, index + (uint64_t)k));
            } else {
                N(product)(type, stream, at.grad + k * size, g, at.out + k * size);
            }
        }
    }
}

/* Elements begin to end of one row. */
FN void N(loop)(int what, int type, const struct call *shared, int64_t row, int64_t begin, int64_t end) {
    const struct call call = *shared; /* a copy, which no store can change */
    const struct table table = table_of(call.words + row * WORDS);
    const int64_t size = SIZES[type];
    while (begin + GROUP <= end) {
        int64_t count = end - begin < BLOCK ? (end - begin) / GROUP * GROUP : BLOCK;
        const int64_t i = row * call.n + begin;
        N(block)(what, type, call.stream, &call, &table, count, (uint64_t)i, place_of(what, &call, row, begin, size));
        begin += count;
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
    N(block)(what, type, 0, &call, &table, GROUP, (uint64_t)(row * call.n + begin), buffers);
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
