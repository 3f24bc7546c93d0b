/* The kernels for CPUs. What they compute is said in portable.py, how a table lies in memory in table/layout.py.

   Only plain C and pointers, so that one library serves every version of Python and torch. native_path.h holds the
   kernels; it is included once for every set of vector instructions, and the caller picks one of these paths.
   Products and sums are not fused, so every path gives the same bits, but for what the path for AVX-512 reads from the
   core of a table. */

#include <stdint.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define X86 1
#include <immintrin.h>
#endif

#ifndef SOURCE_HASH
#define SOURCE_HASH ""
#endif

/* Word numbers of table/layout.py. */
enum { VERSION = 2, NUMBER_OF_BREAKS = 1, LOW = 4, HIGH = 5, CELLS = 16, BREAKS = 80, PIECES = 256, WORDS = 4096, BREAK_WORDS = 8 };
enum { BELOW, ABOVE, CELL, RIGHT, MIDDLE };
enum { FIRST_OCTAVE = -7, OCTAVES_END = 23, OCTAVES = 32, MAX_BREAKS = 16 };
enum { CORE_TERMS = 6, CORE_CELL, CORE_RIGHT, CORE_POINTS, CORE_POINT, MAX_POINTS = 4, CORE = 3840, CORE_CELLS = 32, MAX_TERMS = 8 };

/* The same for a test that compares them with table/layout.py, in the order of its NAMES. */
const int32_t sugar_search_layout[] = {
    VERSION, NUMBER_OF_BREAKS, LOW, HIGH, CELLS, BREAKS, PIECES, WORDS, BREAK_WORDS, BELOW, ABOVE, CELL, RIGHT, MIDDLE,
    FIRST_OCTAVE, OCTAVES_END, OCTAVES, MAX_BREAKS, CORE_TERMS, CORE_CELL, CORE_RIGHT, CORE_POINTS, CORE_POINT,
    MAX_POINTS, CORE, CORE_CELLS, MAX_TERMS,
};

#define BLOCK 256 /* elements */
#define LONGEST 4096 /* elements that are read from the whole core before its inner half is tried again, at most */
#define END ((float)(1 << OCTAVES_END))

enum type { F32, F64, F16, BF16 };
enum path { BASELINE, AVX2, AVX512 };
enum kernel_name { BACKWARD, ENCODE, DECODE };

static const int SIZES[] = {4, 8, 2, 2};

/* One call: what a kernel reads and writes. Tensors are dense, rows of n elements each; every table serves one row. */
struct call {
    const char *grad, *x;
    const int32_t *words;
    const uint8_t *codes;
    char *out;
    uint8_t *codes_out;
    int64_t n;
    int64_t first;      /* index of the first element, a multiple of 32 */
    int64_t bytes;      /* of codes in a row */
    uint32_t key1, key2; /* of the random numbers */
    int bits, stream;
    int flushed; /* whether the caller has denormal numbers taken for 0; other threads may not know */
};

/* What every element reads of a table. Rows of coefficients go by their number times 2, which x86 scales by 8. */
struct table {
    int32_t cells[2 * OCTAVES] __attribute__((aligned(64)));    /* row << 5 | (shift - 1), see `locate` */
    uint16_t cells_16[2 * OCTAVES] __attribute__((aligned(64))); /* row / 2 << 4 | shift of the upper 16 bits */
    int32_t breaks[MAX_BREAKS * BREAK_WORDS];
    int16_t ends_16[MAX_BREAKS][3]; /* of the upper 16 bits: from the first on it is right; unclear from, unclear to */
    int32_t count;                  /* of breaks */
    float low, high;
    const char *rows;
};

/* The core of a table, which only the path for AVX-512 reads; `terms` is 0 where it is not to be read. */
struct core {
    float c[MAX_TERMS * CORE_CELLS] __attribute__((aligned(64))); /* for codes, of g in fixed point */
    int terms;   /* coefficients of a cell: 2, 5, 6 or 7 */
    int right;   /* whether cells hold their right ends, not their left ones */
    int count;   /* of points */
    float magic; /* added to x, rounds it to the end of a cell, whose number is left in the last 5 bits */
    float inner_magic; /* the same for the inner half of the cells and 4 bits */
    float points[MAX_POINTS];
};

/* Where the elements of one block lie. */
struct place {
    const char *grad, *x;
    const uint8_t *codes;
    char *out;
    uint8_t *codes_out;
};

typedef void (*kernel)(const struct call *, int64_t row, int64_t begin, int64_t end);

static inline uint32_t half_m(uint32_t h) {
    h = (h ^ h >> 16) * 0x7FEB352Du;
    return h ^ h >> 15;
}

static inline uint32_t half_f(uint32_t h) {
    h *= 0x846CA68Bu;
    return h ^ h >> 16;
}

static inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

/* float16 without instructions for it. */
static inline float from_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7FFF;
    if (rest >= 0x7C00) return float_of(sign | 0x7F800000 | (rest & 0x3FF) << 13 | (rest > 0x7C00 ? 0x400000 : 0));
    if (rest < 0x400) return float_of(sign | bits_of((float)rest * 0x1p-24f));
    return float_of(sign | ((rest << 13) + (112u << 23)));
}

static inline uint16_t to_f16(float value) {
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, rest = bits & 0x7FFFFFFF;
    if (rest > 0x7F800000) return (uint16_t)(sign | 0x7E00 | (rest >> 13 & 0x3FF));
    if (rest >= 0x477FF000) return (uint16_t)(sign | 0x7C00);
    if (rest < 0x38800000) {
        /* Denormal: the sum with 1/2 puts the rounded value into the last bits. */
        return (uint16_t)(sign | (bits_of(float_of(rest) + 0.5f) - bits_of(0.5f)));
    }
    rest += 0xFFF + (rest >> 13 & 1);
    return (uint16_t)(sign | (rest - (112u << 23)) >> 13);
}

static inline struct table table_of(const int32_t *words) {
    struct table table;
    for (int i = 0; i < 2 * OCTAVES; i++) {
        int32_t row = words[CELLS + i] >> 5, shift = words[CELLS + i] & 31;
        table.cells[i] = row * 2 << 5 | (shift - 1);
        table.cells_16[i] = (uint16_t)(row << 4 | (shift == 31 ? 15 : shift - 16));
    }
    table.count = words[NUMBER_OF_BREAKS];
    for (int i = 0; i < table.count * BREAK_WORDS; i++) {
        int32_t word = words[BREAKS + i];
        int is_row = i % BREAK_WORDS >= CELL && i % BREAK_WORDS <= MIDDLE;
        table.breaks[i] = is_row ? word * 2 : word;
    }
    for (int i = 0; i < table.count; i++) {
        const int32_t *b = table.breaks + i * BREAK_WORDS;
        int from = INT16_MAX, to = INT16_MIN;
        if (b[ABOVE] & 0xFFFF) from = to = b[ABOVE] >> 16;
        if (b[MIDDLE] >= 0 && b[BELOW] + 1 < b[ABOVE]) {
            from = (b[BELOW] + 1) >> 16;
            if ((b[ABOVE] - 1) >> 16 > to) to = (b[ABOVE] - 1) >> 16;
        }
        table.ends_16[i][0] = (int16_t)(b[ABOVE] >> 16);
        table.ends_16[i][1] = (int16_t)from, table.ends_16[i][2] = (int16_t)to;
    }
    table.low = float_of((uint32_t)words[LOW]), table.high = float_of((uint32_t)words[HIGH]);
    table.rows = (const char *)(words + PIECES);
    return table;
}

/* For g in fixed point: its distance from the table's low times this. */
static inline float fixed_point(int bits, float low, float high) {
    return high > low ? (bits == 8 ? 255.0f : 15.0f) / (high - low) * 0x1p24f : 0;
}

static inline struct core core_of(int what, int bits, const int32_t *words) {
    struct core core = {.terms = words[CORE_TERMS]};
    if (!core.terms) return core;
    memcpy(core.c, words + CORE, sizeof core.c);
    if (what == ENCODE) {
        const float low = float_of((uint32_t)words[LOW]), scale = fixed_point(bits, low, float_of((uint32_t)words[HIGH]));
        for (int i = 0; i < CORE_CELLS; i++) core.c[i] = (core.c[i] - low) * scale;
        for (int i = CORE_CELLS; i < CORE_CELLS * core.terms; i++) core.c[i] *= scale;
    }
    core.count = words[CORE_POINTS], core.right = words[CORE_RIGHT];
    const float cell = float_of((uint32_t)words[CORE_CELL]), first = 0x1.8p23f - (float)(core.right != 0);
    core.magic = cell * (first + (float)(CORE_CELLS / 2)), core.inner_magic = cell * (first + (float)(CORE_CELLS / 4));
    memcpy(core.points, words + CORE_POINT, sizeof core.points);
    return core;
}

/* Of an element, for the random numbers: members begin at multiples of 32. */
static inline uint64_t index_of(const struct call *call, int64_t row, int64_t i) {
    return (uint64_t)(call->first + row * ((call->n + 31) / 32 * 32) + i);
}

static inline struct place place_of(int what, const struct call *call, int64_t row, int64_t begin, int64_t size) {
    const int64_t i = (row * call->n + begin) * size, c = row * call->bytes + begin * call->bits / 8;
    struct place place = {0};
    place.out = call->out + i;
    if (what != ENCODE) place.grad = call->grad + i;
    if (what != DECODE) place.x = call->x + i;
    if (what == DECODE) place.codes = call->codes + c;
    if (what == ENCODE) place.codes_out = call->codes_out + c;
    return place;
}

#define LANES 4
#define N(name) name##_baseline
#define FN static inline __attribute__((always_inline))
#define ENTRY static
#include "native_path.h"

#ifdef X86
#define LANES 8
#define N(name) name##_avx2
#define ENTRY static __attribute__((target("avx2,f16c")))
#define FN static inline __attribute__((always_inline, target("avx2,f16c")))
#include "native_path.h"

#define LANES 16
#define N(name) name##_avx512
#define ENTRY static __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define FN static inline __attribute__((always_inline, target("avx512f,avx512bw,avx512dq,avx512vl")))
#include "native_path.h"
#endif

static const kernel (*const KERNELS[])[4] = {
    KERNELS_baseline,
#ifdef X86
    KERNELS_avx2,
    KERNELS_avx512,
#endif
};

const char *sugar_search_hash(void) { return SOURCE_HASH; }

/* The best path that this processor has. */
int sugar_search_path(void) {
#ifdef X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c")) return AVX2;
#endif
    return BASELINE;
}

/* Asks for pages of 2 MiB in memory that is about to be written for the first time: thousands of page faults fewer. */
void sugar_search_advise(void *start, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const uintptr_t page = 1 << 21, first = ((uintptr_t)start + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)start + (uintptr_t)bytes) / page * page;
    if (first < end) madvise((void *)first, end - first, MADV_HUGEPAGE);
#else
    (void)start, (void)bytes;
#endif
}

/* Every row is cut into parts of whole cache lines, one for each thread. Returns 1, and does nothing, where a table is
   none. */
static int run(kernel function, struct call *call, int64_t rows, int threads) {
    for (int64_t i = 0; i < rows; i++)
        if (call->words[i * WORDS] != VERSION) return 1;
#ifdef X86
    call->flushed = (_mm_getcsr() & 0x40) != 0;
#endif
    int64_t parts = rows >= 4 * (int64_t)threads ? 1 : threads;
    int64_t length = ((call->n + parts - 1) / parts + 63) / 64 * 64;
#ifdef _OPENMP
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
#endif
    for (int64_t i = 0; i < rows * parts; i++) {
        int64_t begin = i % parts * length, end = begin + length;
        if (end > call->n) end = call->n;
        if (begin < end) function(call, i / parts, begin, end);
    }
    return 0;
}

int sugar_search_backward(int path, int type, int threads, int stream, const void *grad, const void *x,
                          const int32_t *words, void *out, int64_t rows, int64_t n) {
    struct call call = {.grad = grad, .x = x, .words = words, .out = out, .n = n, .stream = stream};
    return run(KERNELS[path][BACKWARD][type], &call, rows, threads);
}

int sugar_search_encode(int path, int type, int threads, int stream, const void *x, const int32_t *words, void *y,
                        uint8_t *codes, int64_t rows, int64_t n, int64_t seed, int64_t first, int bits) {
    struct call call = {.x = x, .words = words, .out = y, .codes_out = codes, .n = n, .stream = stream, .bits = bits};
    call.first = first;
    call.bytes = (n * bits + 7) / 8;
    call.key1 = half_f(half_m((uint32_t)seed)) ^ (uint32_t)((uint64_t)seed >> 32);
    call.key2 = half_f(half_m(call.key1 + 0x9E3779B9u));
    return run(KERNELS[path][ENCODE][type], &call, rows, threads);
}

int sugar_search_decode(int path, int type, int threads, int stream, const void *grad, const uint8_t *codes,
                        const int32_t *words, void *out, int64_t rows, int64_t n, int bits) {
    struct call call = {.grad = grad, .words = words, .out = out, .codes = codes, .n = n, .stream = stream, .bits = bits};
    call.bytes = (n * bits + 7) / 8;
    return run(KERNELS[path][DECODE][type], &call, rows, threads);
}
