/* The norm of gradients, and Adam's step along them; the same as torch.optim.Adam with fused=True.
 *
 * There are `tensors` of them, of `sizes` numbers each. What threads compute does not depend on how
 * many there are.
 */
#include "lanes.h"

#define PIECE 4096 /* numbers that are summed in float, and that a thread takes at once */

static double sum_of_squares(int64_t size, const float *x) {
  vec sums = every(0.0f);
  int64_t i = 0;
  for (; i + LANES <= size; i += LANES) sums += GET(x + i) * GET(x + i);
  float total = total_of(sums);
  for (; i < size; i++) total += x[i] * x[i];
  return total;
}

/* The Euclidean norm of all numbers together. */
void norm_of(int64_t tensors, const int64_t *sizes, const float *const *x, float *out) {
  double total = 0.0;
  for (int64_t n = 0; n < tensors; n++)
    for (int64_t i = 0; i < sizes[n]; i += PIECE)
      total += sum_of_squares(lesser(PIECE, sizes[n] - i), x[n] + i);
  out[0] = (float)sqrt(total);
}

typedef struct {
  double lr, beta1, beta2, eps, scale; /* `scale` times the gradients is what is followed */
} Adam;

static void adam_piece(int64_t size, const Adam *how, double step, float *restrict x,
                       const float *restrict gradient, float *restrict mean,
                       float *restrict square) {
  const float far = (float)(how->lr / (1.0 - pow(how->beta1, step)));
  const float root = (float)sqrt(1.0 - pow(how->beta2, step)), eps = (float)how->eps;
  const float first = (float)(1.0 - how->beta1), second = (float)(1.0 - how->beta2);
  const float kept = (float)how->beta2, scale = (float)how->scale;
  for (int64_t i = 0; i < size; i++) {
    const float g = scale * gradient[i];
    const float m = mean[i] + first * (g - mean[i]), s = kept * square[i] + second * g * g;
    mean[i] = m;
    square[i] = s;
    x[i] -= far * m / (sqrtf(s) / root + eps);
  }
}

/* Moves numbers `x` and their moments; `steps` counts those of each tensor. */
void adam(int64_t tensors, const int64_t *sizes, float *const *x, const float *const *gradients,
          float *const *means, float *const *squares, float *const *steps, const Adam *how,
          int64_t threads) {
  int64_t first[tensors + 1]; /* piece of each tensor */
  first[0] = 0;
  for (int64_t n = 0; n < tensors; n++) {
    first[n + 1] = first[n] + (sizes[n] + PIECE - 1) / PIECE;
    steps[n][0] += 1.0f;
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t piece = 0; piece < first[tensors]; piece++) {
    int64_t n = 0;
    while (first[n + 1] <= piece) n++;
    const int64_t i = (piece - first[n]) * PIECE;
    adam_piece(lesser(PIECE, sizes[n] - i), how, steps[n][0], x[n] + i, gradients[n] + i,
               means[n] + i, squares[n] + i);
  }
}
