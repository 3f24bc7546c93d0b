/* The core of a table: cells of equal width around 0, held in registers; part of native_path.h, for AVX-512 alone. */

struct N(cells) {
    __m512 low[MAX_TERMS], high[MAX_TERMS]; /* coefficients of cells 0 to 15 and 16 to 31 */
};

/* The inner half, cells 8 to 23, fills one register for each term, which takes a quarter less time; `low` holds it. */
FN struct N(cells) N(cells_of)(int terms, int inner, const struct core *core) {
    struct N(cells) cells;
#pragma GCC unroll 8
    for (int i = 0; i < terms; i++) {
        cells.low[i] = _mm512_loadu_ps(core->c + i * CORE_CELLS + (inner ? CORE_CELLS / 4 : 0));
        cells.high[i] = _mm512_load_ps(core->c + i * CORE_CELLS + CORE_CELLS / 2);
    }
    return cells;
}

/* The end of each cell plus `magic`. */
FN __m512 N(ends)(int right, __m512 x, __m512 magic) {
    return right ? _mm512_add_round_ps(x, magic, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)
                 : _mm512_add_round_ps(x, magic, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}

/* One coefficient of the cells whose numbers are the last 5 bits of `ends`, or 4 of the inner half. */
FN __m512 N(selected)(int inner, const struct N(cells) *cells, int i, __m512 ends) {
    const __m512i cell = _mm512_castps_si512(ends);
    return inner ? _mm512_permutexvar_ps(cell, cells->low[i])
                 : _mm512_permutex2var_ps(cells->low[i], cell, cells->high[i]);
}

/* g at x within the core, or its inner half. */
FN __m512 N(core_value)(int terms, int inner, const struct N(cells) *cells, __m512 x, __m512 ends, __m512 magic) {
    const __m512 t = x - (ends - magic);
    __m512 g = N(selected)(inner, cells, terms - 1, ends);
#pragma GCC unroll 8
    for (int i = terms - 2; i >= 0; i--) g = _mm512_fmadd_ps(g, t, N(selected)(inner, cells, i, ends));
    return g;
}

/* Which elements so many cells do not hold, NaN among them: `ends` and `magic` then differ in more than the last bits. */
FN __mmask16 N(beyond)(int cells, __m512i difference) {
    return _mm512_test_epi32_mask(difference, _mm512_set1_epi32(-cells));
}

FN __mmask16 N(at_points)(const struct core *core, __m512 x) {
    __mmask16 found = 0;
    for (int i = 0; i < core->count; i++)
        found |= _mm512_cmp_ps_mask(x, _mm512_set1_ps(core->points[i]), _CMP_EQ_OQ);
    return found;
}

/* Of up to BLOCK elements, those that the core does not hold, and their g by the octaves, side by side. */
struct N(others) {
    __mmask16 outside[BLOCK / LANES];
    float g[BLOCK + LANES];
};

FN void N(others_of)(int what, int type, int bits, const struct table *table, const struct core *core, int64_t count,
                     const char *p, struct N(others) *others) {
    const __m512 magic = _mm512_set1_ps(core->magic);
    float xs[BLOCK + GROUP], ts[BLOCK + GROUP] __attribute__((aligned(64)));
    uint16_t rows[BLOCK + GROUP] __attribute__((aligned(64)));
    int64_t n = 0;
    for (int64_t k = 0; k < count; k += LANES) {
        const __m512 x = (__m512)N(load)(type, p + k * SIZES[type]);
        const __m512 ends = core->right ? N(ends)(1, x, magic) : N(ends)(0, x, magic);
        const __m512i difference = _mm512_xor_si512(_mm512_castps_si512(ends), _mm512_castps_si512(magic));
        const __mmask16 outside = N(beyond)(CORE_CELLS, difference) | N(at_points)(core, x);
        others->outside[k / LANES] = outside;
        _mm512_storeu_ps(xs + n, _mm512_maskz_compress_ps(outside, x));
        n += __builtin_popcount(outside);
    }
    /* The last group is filled up with zeros. */
    _mm512_storeu_ps(xs + n, _mm512_setzero_ps());
    _mm512_storeu_ps(xs + n + LANES, _mm512_setzero_ps());
    for (int64_t i = 0; i < n; i += GROUP) N(locate_at)(table, F32, (const char *)(xs + i), rows + i, ts + i);
    for (int64_t i = 0; i < n; i += GROUP)
        for (int v = 0; v < 2 && i + v * LANES < n; v++) {
            vf g = N(value)(table->rows, rows + i, ts + i, v);
            if (what == ENCODE) g = N(fixed)(bits, g, table);
            memcpy(others->g + i + v * LANES, &g, sizeof g);
        }
}

/* With `others`, `count` elements. Without, elements from the first on, as long as the core, or its inner half, holds
   whole groups of them. Returns how many. */
FN int64_t N(core_terms)(int terms, int right, int what, int type, int stream, int bits, int inner,
                         const struct call *call, const struct core *core, const struct N(others) *others,
                         int64_t count, uint64_t index, struct place at) {
    const struct N(cells) cells = N(cells_of)(terms, inner, core);
    const __m512 magic = _mm512_set1_ps(inner ? core->inner_magic : core->magic);
    const int size = SIZES[type];
    const float *next = others ? others->g : NULL;
    const struct N(random) random = N(random_of)(call, index);
    vu places = N(places)(index);
    int64_t k = 0;
    for (; k < count; k += GROUP) {
        const __m512 x = (__m512)N(load)(type, at.x + k * size), y = (__m512)N(load)(type, at.x + (k + LANES) * size);
        const __m512 a = N(ends)(right, x, magic), b = N(ends)(right, y, magic);
        if (!others) {
            const __m512i difference = _mm512_ternarylogic_epi32( /* (a ^ magic) | (b ^ magic) */
                _mm512_castps_si512(a), _mm512_castps_si512(magic), _mm512_castps_si512(b), 0x7E);
            if (N(beyond)(inner ? CORE_CELLS / 2 : CORE_CELLS, difference)) break;
            if (core->count && (N(at_points)(core, x) | N(at_points)(core, y))) break;
        }
        __m512 g = N(core_value)(terms, inner, &cells, x, a, magic);
        __m512 h = N(core_value)(terms, inner, &cells, y, b, magic);
        if (others) {
            const __mmask16 *outside = others->outside + k / LANES;
            g = _mm512_mask_expand_ps(g, outside[0], _mm512_loadu_ps(next));
            next += __builtin_popcount(outside[0]);
            h = _mm512_mask_expand_ps(h, outside[1], _mm512_loadu_ps(next));
            next += __builtin_popcount(outside[1]);
        }
        const vu hash = what == ENCODE ? N(hash)(&random, places) : (vu){0};
        places += LANES;
        N(put)(what, type, stream, bits, (vf)g, k, N(bits)(hash, 0), &at);
        N(put)(what, type, stream, bits, (vf)h, k + LANES, N(bits)(hash, 1), &at);
    }
    return k;
}

FN int64_t N(run_core)(int what, int type, int stream, int inner, const struct call *call, const struct core *core,
                       const struct N(others) *others, int64_t count, uint64_t index, struct place at) {
#define RUN(terms, right, bits) \
    N(core_terms)(terms, right, what, type, stream, bits, inner, call, core, others, count, index, at)
#define RUN_BITS(terms, right) (what == ENCODE && call->bits == 8 ? RUN(terms, right, 8) : RUN(terms, right, 4))
#define RUN_RIGHT(terms) (core->right ? RUN_BITS(terms, 1) : RUN_BITS(terms, 0))
    /* Coefficients that a core lacks are 0. Only the inner half, where most elements lie, is worth code of its own for
       each number. */
    if (others) return RUN_RIGHT(7);
    if (!inner) return core->terms <= 5 ? RUN_RIGHT(5) : RUN_RIGHT(7);
    switch (core->terms) {
    case 2: return RUN_RIGHT(2);
    case 5: return RUN_RIGHT(5);
    case 6: return RUN_RIGHT(6);
    default: return RUN_RIGHT(7);
    }
#undef RUN
#undef RUN_BITS
#undef RUN_RIGHT
}

/* Up to BLOCK elements, a multiple of GROUP, some of which the core does not hold. */
FN void N(mixed)(int what, int type, int stream, const struct call *call, const struct table *table,
                 const struct core *core, int64_t count, uint64_t index, struct place at) {
    struct N(others) others;
    N(others_of)(what, type, call->bits, table, core, count, at.x, &others);
    N(run_core)(what, type, stream, 0, call, core, &others, count, index, at);
}
