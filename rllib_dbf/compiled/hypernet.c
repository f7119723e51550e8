/* Backwards through a factored hypernetwork's input layer (nets/input_layers.py):
 *
 *     x = ReLU(sum_c mix_c prepared_c + b),   mix = ReLU(W2 features + c2),
 *     features = ReLU(W1 asinh z + c1),       z without a gradient
 *
 * P rows, H units, C bases, F features, M quantiles; H, F and M are multiples of 16. The forward
 * pass is part of the walk in recurrence.c, because z comes from the step before.
 */
#include "lanes.h"

#define UNITS 16 /* of a weight's gradient, per task */

typedef struct {
  int64_t hidden, quantiles, features, bases;
  const float *second;                               /* [C, F] */
  const float *prepared;                             /* [P, C, H] */
  const float *inputs, *small, *feature, *mix;       /* kept: [P, H], [P, M], [P, F], [P, C] */
  const float *grad;                                 /* [P, H], of x */
  float *grad_prepared;                              /* [P, C, H] */
  float *open, *of_mix, *of_features;                /* [P, H], [P, C], [P, F], room */
  float *first, *first_bias, *second_grad, *second_bias, *bias; /* as the weights */
} HypernetBack;

static void rows_back(const HypernetBack *b, int64_t i) {
  const int64_t h = b->hidden, f = b->features, c = b->bases;
  float *open = b->open + i * h;
  EACH(j, h) {
    const vec x = GET(b->inputs + i * h + j);
    AT(open + j) = pick(x > 0.0f, GET(b->grad + i * h + j), every(0.0f));
  }
  for (int64_t k = 0; k < c; k++) {
    const int64_t at = (i * c + k) * h;
    const float share = b->mix[i * c + k];
    vec dot = every(0.0f);
    EACH(j, h) {
      dot += GET(open + j) * GET(b->prepared + at + j);
      AT(b->grad_prepared + at + j) = share * GET(open + j);
    }
    b->of_mix[i * c + k] = share > 0.0f ? total_of(dot) : 0.0f;
  }
  EACH(j, f) {
    vec sum = every(0.0f);
    for (int64_t k = 0; k < c; k++) sum += b->of_mix[i * c + k] * GET(b->second + k * f + j);
    const vec feature = GET(b->feature + i * f + j);
    AT(b->of_features + i * f + j) = pick(feature > 0.0f, sum, every(0.0f));
  }
}

/* Gradients of all that x was made of, given its own. */
void hypernet_backward(int64_t rows, const HypernetBack *b, int64_t threads) {
  const int64_t h = b->hidden, m = b->quantiles, f = b->features, c = b->bases;
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < rows; i++) rows_back(b, i);
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i <= f / UNITS; i++) {
      const int64_t unit = i * UNITS;
      if (unit < f) {
        over_rows(UNITS, m, rows, b->of_features + unit, f, b->small, b->first + unit * m, 0);
        continue;
      }
      over_rows(c, f, rows, b->of_mix, c, b->feature, b->second_grad, 0);
      sum_rows(rows, f, b->of_features, b->first_bias);
      sum_rows(rows, h, b->open, b->bias);
      memset(b->second_bias, 0, c * sizeof(float));
      for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < c; k++) b->second_bias[k] += b->of_mix[r * c + k];
    }
  }
}
