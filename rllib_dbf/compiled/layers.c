/* Layers without memory: linear maps, mixtures of bases, cosine features.
 *
 * Rows go to threads in blocks; a number's sum runs in the same order whatever their number.
 */
#include "lanes.h"

#define ROWS 96  /* of a layer, per task */
#define UNITS 16 /* of a weight's gradient, per task */

/* y[rows, out] = x weight^T + bias, given weight^T; bias may be null. */
void linear(int64_t rows, int64_t in, int64_t out, const float *x, const float *weight_t,
            const float *bias, float *y, int64_t threads) {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t i = 0; i < rows; i += ROWS)
    product(lesser(ROWS, rows - i), out, in, x + i * in, in, 1, weight_t, out, y + i * out, out, 0,
            bias);
}

/* Gradients of `linear`, given those of y; grad_x and grad_bias may be null, and where grad_x is
 * not, `in` is a multiple of 16. `room` is [in, out]. */
void linear_backward(int64_t rows, int64_t in, int64_t out, const float *x, const float *weight,
                     const float *grad, float *grad_x, float *grad_weight, float *grad_bias,
                     float *room, int64_t threads) {
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(dynamic) nowait
    for (int64_t i = 0; i < in; i += UNITS) {
      const int64_t units = lesser(UNITS, in - i);
      over_rows(units, out, rows, x + i, in, grad, room + i * out, 0);
      for (int64_t j = 0; j < out; j++)
        for (int64_t k = i; k < i + units; k++) grad_weight[j * in + k] = room[k * out + j];
    }
#pragma omp single nowait
    if (grad_bias) sum_rows(rows, out, grad, grad_bias);
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < (grad_x ? rows : 0); i += ROWS)
      product(lesser(ROWS, rows - i), in, out, grad + i * out, out, 1, weight, in, grad_x + i * in,
              in, 0, 0);
  }
}

/* y[rows, units] = sum_c mix[rows, c] bases[rows, c, units] + bias. */
void mixture(int64_t rows, int64_t count, int64_t units, const float *mix, const float *bases,
             const float *bias, float *y, int64_t threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < rows; i++)
    EACH(j, units) {
      vec sum = GET(bias + j);
      for (int64_t c = 0; c < count; c++)
        sum += mix[i * count + c] * GET(bases + (i * count + c) * units + j);
      AT(y + i * units + j) = sum;
    }
}

/* Gradients of `mixture`, given that of y. */
void mixture_backward(int64_t rows, int64_t count, int64_t units, const float *mix,
                      const float *bases, const float *grad, float *grad_mix, float *grad_bases,
                      float *grad_bias, int64_t threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < rows; i++)
    for (int64_t c = 0; c < count; c++) {
      const float share = mix[i * count + c];
      vec dot = every(0.0f);
      EACH(j, units) {
        const int64_t at = (i * count + c) * units + j;
        const vec g = GET(grad + i * units + j);
        dot += g * GET(bases + at);
        AT(grad_bases + at) = share * g;
      }
      grad_mix[i * count + c] = total_of(dot);
    }
  sum_rows(rows, units, grad, grad_bias);
}

/* out[n, waves] = cos(pi k tau), k = 0 ... waves - 1: with whole turns taken off first, the
 * argument is exact to a rounding of tau k / 2. */
void cosines(int64_t n, int64_t waves, const float *tau, float *out, int64_t threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < n; i++)
    EACH(j, waves) {
      float wave[LANES];
      for (int k = 0; k < LANES; k++) wave[k] = (float)(j + k);
      AT(out + i * waves + j) = cosine_of_turns(0.5f * tau[i] * GET(wave));
    }
}
