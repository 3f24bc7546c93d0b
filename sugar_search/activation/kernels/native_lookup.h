/* How one path reads a table; part of native_path.h. Steps are those of table/layout.py. */

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

/* Steps 1 to 6: each element's row of coefficients, and its t. */
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
