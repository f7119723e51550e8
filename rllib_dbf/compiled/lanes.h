/* Matrix products and functions of numbers, sixteen lanes at a time.
 *
 * Written with the vector types of GCC and Clang, which become AVX-512, AVX, NEON or whatever else
 * the processor has. Float32, row-major.
 */
#ifndef RLLIB_DBF_LANES_H
#define RLLIB_DBF_LANES_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#ifndef LANES
#define LANES 16
#endif
#define DEPTH 256 /* rows of a product over rows that are summed at once */

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define AT(p) (*(vec *)(p))
#define GET(p) (*(const vec *)(p))
#define EACH(i, n) for (int64_t i = 0; i < (n); i += LANES)

INLINE vec every(float x) { return (vec){0} + x; }
INLINE vec pick(ivec where, vec yes, vec no) {
  return (vec)((where & (ivec)yes) | (~where & (ivec)no));
}

#if LANES == 16
typedef float vec8 __attribute__((vector_size(32)));
typedef float vec4 __attribute__((vector_size(16)));

INLINE float total_of(vec x) { /* by halves: one addition after another takes four times as long */
  vec8 half[2];
  memcpy(half, &x, sizeof half);
  half[0] += half[1];
  vec4 quarter[2];
  memcpy(quarter, half, sizeof quarter);
  quarter[0] += quarter[1];
  return (quarter[0][0] + quarter[0][2]) + (quarter[0][1] + quarter[0][3]);
}
#endif

/* ---- Matrix products ---------------------------------------------------------------------- */

/* Columns and rows of a product that registers hold: 24 of 32 with AVX-512, 12 of 16 with AVX. */
#if defined(__AVX512F__)
#define WIDEST 4
#else
#define WIDEST 1
#endif
#define TALLEST 6

/* c[rows, 16 width] = first + a b, where `first` is c itself (add), a row (bias), or zero. The
 * element of a in row i and column k is a[i * row + k * col]. */
INLINE void tile(const int rows, const int width, int64_t depth, const float *a, int64_t row,
                 int64_t col, const float *b, int64_t ldb, float *c, int64_t ldc, int add,
                 const float *bias) {
  vec sum[TALLEST][WIDEST];
#pragma GCC unroll 8
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
    for (int j = 0; j < width; j++)
      sum[i][j] = add    ? GET(c + i * ldc + j * LANES)
                  : bias ? GET(bias + j * LANES)
                         : every(0.0f);
  for (int64_t k = 0; k < depth; k++, b += ldb) {
    vec right[WIDEST];
#pragma GCC unroll 4
    for (int j = 0; j < width; j++) right[j] = GET(b + j * LANES);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
      const float left = a[i * row + k * col];
#pragma GCC unroll 4
      for (int j = 0; j < width; j++) sum[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
    for (int j = 0; j < width; j++) AT(c + i * ldc + j * LANES) = sum[i][j];
}

INLINE void columns(const int width, int64_t rows, int64_t depth, const float *a, int64_t row,
                    int64_t col, const float *b, int64_t ldb, float *c, int64_t ldc, int add,
                    const float *bias) {
  int64_t i = 0;
  for (; i + TALLEST <= rows; i += TALLEST)
    tile(TALLEST, width, depth, a + i * row, row, col, b, ldb, c + i * ldc, ldc, add, bias);
#define REST(n) \
  case n: tile(n, width, depth, a + i * row, row, col, b, ldb, c + i * ldc, ldc, add, bias); break;
  switch (rows - i) { REST(1) REST(2) REST(3) REST(4) REST(5) }
#undef REST
}

/* c[rows, cols] (+)= a[rows, depth] b[depth, cols] (+ bias); cols is a multiple of 16. */
static void product(int64_t rows, int64_t cols, int64_t depth, const float *a, int64_t row,
                    int64_t col, const float *b, int64_t ldb, float *c, int64_t ldc, int add,
                    const float *bias) {
  int64_t j = 0;
#if WIDEST == 4
  for (; j + 64 <= cols; j += 64)
    columns(4, rows, depth, a, row, col, b + j, ldb, c + j, ldc, add, bias ? bias + j : bias);
  for (; j + 32 <= cols; j += 32)
    columns(2, rows, depth, a, row, col, b + j, ldb, c + j, ldc, add, bias ? bias + j : bias);
#endif
  for (; j < cols; j += 16)
    columns(1, rows, depth, a, row, col, b + j, ldb, c + j, ldc, add, bias ? bias + j : bias);
}

/* ---- Functions of numbers ------------------------------------------------------------------ */

/* Of numbers that GCC's own operators need several instructions for; NaN stays. */
#if defined(__AVX512F__) && LANES == 16
INLINE vec bounded(vec x, float most) {
  const __m512 low = _mm512_set1_ps(-most), high = _mm512_set1_ps(most);
  return (vec)_mm512_max_ps(low, _mm512_min_ps(high, (__m512)x)); /* the second of two if NaN */
}
INLINE vec times_power_of_2(vec x, vec whole) {
  return (vec)_mm512_scalef_ps((__m512)x, (__m512)whole);
}
#else
INLINE vec bounded(vec x, float most) {
  x = pick(x > most, every(most), x);
  return pick(x < -most, every(-most), x);
}
INLINE vec times_power_of_2(vec x, vec whole) {
  const ivec power = (__builtin_convertvector(whole, ivec) + 127) << 23;
  return x * (vec)power;
}
#endif

/* e^x for |x| <= 87 and its bounds beyond; NaN stays NaN. Relative error below 1e-7. */
INLINE vec exponential(vec x) {
  x = bounded(x, 87.0f);
  const vec magic = every(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
  const vec whole = (x * 1.44269504088896341f + magic) - magic;
  const vec r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
  vec p = every(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return times_power_of_2(p, whole);
}

/* 1 / x of 1 <= x < 2^127, within a few units of the last place: a division takes eight times as
 * long as a guess and a step of Newton's. NaN stays. */
#if defined(__AVX512F__) && LANES == 16
INLINE vec inverse(vec x) {
  const vec guess = (vec)_mm512_rcp14_ps((__m512)x);
  return guess * (2.0f - x * guess);
}
#else
INLINE vec inverse(vec x) { return 1.0f / x; }
#endif

INLINE vec sigmoid(vec x) { return inverse(1.0f + exponential(-x)); }
INLINE vec tangent(vec x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }
INLINE vec rectified(vec x) { return pick(x < 0.0f, every(0.0f), x); }

/* ln x of normal x >= 1; NaN and infinity stay. */
INLINE vec logarithm(vec x) {
  const ivec bits = (ivec)x;
  vec m = (vec)((bits & 0x007fffff) | 0x3f000000); /* mantissa in [1/2, 1) */
  vec e = __builtin_convertvector((bits >> 23) - 126, vec);
  const ivec small = m < 0.707106781186547524f;
  e = pick(small, e - 1.0f, e);
  m = pick(small, m + m, m) - 1.0f;
  const vec z = m * m;
  vec p = every(7.0376836292e-2f);
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const vec y = p * m * z - 2.12194440e-4f * e - 0.5f * z;
  const vec found = m + y + 0.693359375f * e;
  return pick(x < 3.4e38f, found, x); /* NaN compares false */
}

/* asinh x, as input_layers.py writes it out. */
INLINE vec asinh_of(vec x) {
  const vec size = (vec)((ivec)x & 0x7fffffff);
  const vec square = size * size + 1.0f;
  float root[LANES];
  for (int j = 0; j < LANES; j++) root[j] = sqrtf(square[j]);
  const vec y = logarithm(size + GET(root));
  return (vec)((ivec)y | ((ivec)x & (int32_t)0x80000000));
}

/* cos(2 pi x) for |x| < 2^22. Error below 3e-7. */
INLINE vec cosine_of_turns(vec x) {
  const vec magic = every(12582912.0f);
  x = x - ((x + magic) - magic); /* in [-1/2, 1/2] */
  const vec y = 0.25f - (vec)((ivec)x & 0x7fffffff); /* cos(2 pi x) = sin(2 pi y), |y| <= 1/4 */
  const vec z = y * y;
  vec p = every(-1.439413538e1f);
  p = p * z + 4.200980573e1f;
  p = p * z - 7.670428132e1f;
  p = p * z + 8.160522621e1f;
  p = p * z - 4.134170212e1f;
  p = p * z + 6.283185307f;
  return p * y;
}

/* ---- Sums over rows ------------------------------------------------------------------------- */

static inline int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

/* out[rows, cols] (+)= left[depth, ·]^T right[depth, cols], some of the depth at a time. */
static inline void over_rows(int64_t rows, int64_t cols, int64_t depth, const float *left,
                             int64_t ld, const float *right, float *out, int add) {
  for (int64_t k = 0; k < depth; k += DEPTH, add = 1)
    product(rows, cols, lesser(DEPTH, depth - k), left + k * ld, 1, ld, right + k * cols, cols, out,
            cols, add, 0);
}

static inline void sum_rows(int64_t rows, int64_t cols, const float *x, float *out) {
  memset(out, 0, cols * sizeof *out);
  for (int64_t i = 0; i < rows; i++)
    EACH(j, cols) AT(out + j) += GET(x + i * cols + j);
}

/* out[cols, rows] = x[rows, cols]^T, whose rows lie `ld` apart; rows is a multiple of 16. */
static inline void turn(int64_t rows, int64_t cols, const float *x, float *out, int64_t ld) {
  for (int64_t i = 0; i < rows; i += LANES)
    for (int64_t j = 0; j < cols; j++) {
      vec column;
      for (int k = 0; k < LANES; k++) column[k] = x[(i + k) * cols + j];
      AT(out + j * ld + i) = column;
    }
}

#endif
