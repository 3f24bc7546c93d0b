"""How a table lies in memory: one block of 4,096 words of 32 bits, the same for every surrogate.

Every kernel reads the same block, so this file is the contract between the builder and C, Triton and torch. The block
is an int32 tensor, whose floats are stored bit for bit, because `module.half()` converts floating buffers.

    word       content
    0          VERSION
    1          number of breaks
    2          number of pieces
    3, 4, 5    max |g|, low, high (float32): g lies in [low, high]; codes of 4 and 8 bits divide that range evenly
    6          number of coefficients of a core cell: 2, 5, 6 or 7; 0 where the table has no core
    7          width of a core cell (float32), a power of 2
    8          1 if core cells hold their right ends, 0 if their left ones
    9          number of points outside the core
    10-13      those points (float32)
    16-79      64 cells, by sign of x and octave of |x|: `piece << 5 | shift`
    80-207     16 breaks of 8 words: below, above, cell, right, middle, 0, 0, 0
    256-3839   896 pieces of 4 float32: c0, c1, c2, c3
    3840-4095  core: c0 of 32 cells (float32), c1 of 32 cells, ... c7

To evaluate g at x, in float32 (x is rounded to float32 first):

1. `x = clamp(x, -2**OCTAVES_END, 2**OCTAVES_END)`; NaN stays NaN. `bits` = the word of x.
2. `octave = clamp((bits >> 23 & 255) - 126 - FIRST_OCTAVE, 0, 31)`: 0 for |x| < 2**FIRST_OCTAVE, k for
   |x| in [2**(FIRST_OCTAVE + k - 1), 2**(FIRST_OCTAVE + k)), 31 for |x| >= 2**OCTAVES_END and NaN.
3. `cell = words[CELLS + 32 * (x negative, -0 too) + octave]`, `shift = cell & 31`, a constant of the octave: 31 in
   octaves 0 and 31, and 23 - s where the octave is cut into 2**s even cells.
4. `piece = (cell >> 5) + ((bits & 0x7fffff) >> shift)`.
5. For each break, in the order stored (ascending): with `order(x)` = bits for x >= +0, else `bits ^ 0x7fffffff` (as
   signed numbers these are ordered as the floats are, and -0 = -1 comes just before +0 = 0): where
   `piece == cell and order(x) >= above`: `piece = right`; where `below < order(x) < above` and middle >= 0:
   `piece = middle`. Integers, because denormal floats compare as 0 where the user asked torch to flush them.
6. `t = x - edge`, `edge` = the float with word `bits & (-1 << shift)`: the cell's end towards 0, and +-0 in octaves 0
   and 31, whose pieces in octave 31 are constants.
7. `g = c0 + t*(c1 + t*(c2 + t*c3))`.

All kernels but one give the same bits. That for AVX-512 holds the core in its registers. It reads the octaves only
where the core has no cell for x or x is one of its points, and everywhere if the user has denormals flushed:

1. `k = floor(x / width)` if cells hold their left ends, else `ceil(x / width)`.
2. `cell = k + 16` or, in turn, `k + 15`; the core holds x where this is 0 to 31.
3. `t = x - k * width`.
4. `g = c0 + t*(c1 + t*(...))`, each product together with its sum rounded once.

Both ways are within the error of the table, so they differ by at most twice this error: 2e-6 of max |g| where tables
are used by default. Either is a function of x alone, the same for every place in a tensor and every number of threads.
"""

__all__ = [
    "ABOVE",
    "BELOW",
    "BREAKS",
    "BREAK_WORDS",
    "CELL",
    "CELLS",
    "CORE",
    "CORE_CELL",
    "CORE_CELLS",
    "CORE_POINT",
    "CORE_POINTS",
    "CORE_RIGHT",
    "CORE_TERMS",
    "FIRST_OCTAVE",
    "HIGH",
    "LOW",
    "MAX_BREAKS",
    "MAX_PIECES",
    "MAX_POINTS",
    "MAX_TERMS",
    "MIDDLE",
    "NUMBER_OF_BREAKS",
    "NUMBER_OF_PIECES",
    "OCTAVES",
    "OCTAVES_END",
    "PIECES",
    "RIGHT",
    "SCALE",
    "VERSION",
    "WORDS",
]

VERSION = 2
WORDS = 4096
NUMBER_OF_BREAKS, NUMBER_OF_PIECES, SCALE, LOW, HIGH = 1, 2, 3, 4, 5  # words
CORE_TERMS, CORE_CELL, CORE_RIGHT, CORE_POINTS, CORE_POINT = 6, 7, 8, 9, 10  # words
CELLS, BREAKS, PIECES, CORE = 16, 80, 256, 3840  # first word of each part
OCTAVES = 32  # of each sign: one for small |x|, 30 of a factor of 2 each, one for the tail
FIRST_OCTAVE, OCTAVES_END = -7, 23  # powers of 2
MAX_BREAKS, BREAK_WORDS = 16, 8
BELOW, ABOVE, CELL, RIGHT, MIDDLE = 0, 1, 2, 3, 4  # words within a break
MAX_PIECES = (CORE - PIECES) // 4
CORE_CELLS, MAX_TERMS, MAX_POINTS = 32, 8, 4
