/* Codes of 4 and 8 bits, rounded at random; part of native_path.h. */

/* What the random numbers of elements from `index` on begin with; the upper half of their places is one for all. */
struct N(random) {
    vu key1, key2;
};

FN struct N(random) N(random_of)(const struct call *call, uint64_t index) {
    const uint32_t far = (uint32_t)(index >> 5 << 4 >> 32);
    const struct N(random) random = {(vu){0} + (call->key1 ^ half_f(half_m(far))), (vu){0} + call->key2};
    return random;
}

/* The places of LANES elements from `index`, a multiple of LANES, on; and of those 16 further on. See random_bits.py. */
FN vu N(places)(uint64_t index) {
    vu lanes;
    for (int i = 0; i < LANES; i++) lanes[i] = (uint32_t)i;
    return lanes + (uint32_t)(index >> 5 << 4 | (index & 15));
}

FN vu N(hash)(const struct N(random) *random, vu places) {
    vu h = places ^ random->key1;
    h = (h ^ h >> 16) * 0x7FEB352Du;
    h = ((h ^ h >> 15) + random->key2) * 0x846CA68Bu;
    return h ^ h >> 16;
}

/* The 24 random bits of elements whose index has this bit of 16. */
FN vu N(bits)(vu hash, int upper) { return upper ? hash >> 8 : (hash << 8 & 0xFFFF00) | 0x80; }

/* g in fixed point, with 24 bits after the point, as a float. */
FN vf N(fixed)(int bits, vf g, const struct table *table) {
    return (g - table->low) * fixed_point(bits, table->low, table->high);
}

/* The sum of g, in steps, and the random number, rounded down. */
FN void N(put_codes)(int bits, uint8_t *codes, vf scaled, vu random) {
    vf most = (vf){0} + (bits == 8 ? 255.0f : 15.0f) * 0x1p24f;
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
        __m512i packed = _mm512_ternarylogic_epi64(pairs, odd, _mm512_set1_epi64(0xF0), 0xF8); /* a | b & c */
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

/* What codes stand for: a table of the 16 values of 4 bits, or the range for 8. */
struct N(levels) {
    vf of_4;
    float low, range;
};

FN struct N(levels) N(levels_of)(int bits, float low, float high) {
    struct N(levels) levels = {.low = low, .range = high - low};
    if (bits == 4 && LANES == 16)
        for (int i = 0; i < LANES; i++) levels.of_4[i] = low + (float)i * (high - low) / 15.0f;
    return levels;
}

FN vf N(level)(int bits, const uint8_t *codes, const struct N(levels) *levels) {
#if LANES == 16
    if (bits == 4) {
        /* The product puts a byte's upper half into the upper word; the selection reads the last 4 bits of a word. */
        __m512i pairs = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const void *)codes));
        __m512i places = _mm512_mul_epu32(pairs, _mm512_set1_epi64(1 << 28 | 1));
        return (vf)_mm512_permutexvar_ps(places, (__m512)levels->of_4);
    }
#endif
    vb bytes;
    if (bits == 8) {
        memcpy(&bytes, codes, sizeof bytes);
    } else {
        vn packed;
        memcpy(&packed, codes, sizeof packed);
        vp pairs = __builtin_convertvector(packed, vp);
        bytes = (vb)((pairs | pairs << 4) & 0x0F0F);
    }
#if LANES == 16
    /* The quotient by 255, rounded as a division rounds it, in three steps. */
    __m512 whole = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32((__m128i)bytes)) * levels->range;
    __m512 inverse = _mm512_set1_ps(1.0f / 255.0f), quotient = whole * inverse;
    __m512 rest = _mm512_fnmadd_ps(quotient, _mm512_set1_ps(255.0f), whole);
    return (vf)(levels->low + _mm512_fmadd_ps(rest, inverse, quotient));
#else
    vf code = __builtin_convertvector(__builtin_convertvector(__builtin_convertvector(bytes, vh), vi), vf);
    return levels->low + code * levels->range / (bits == 8 ? 255.0f : 15.0f);
#endif
}
