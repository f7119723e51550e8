/* Expected utilities of heads that are one linear layer (nets/heads.py), forwards and backwards.
 *
 *     q_a = out_a . h + b_a,   z = q_u of the action u that was taken
 *
 * R rows of hidden states of H numbers, N to a state, A actions; H is a multiple of 16. M of the
 * states have a value of actions: `origins`, which increase, or all in order. Rows go to threads in
 * blocks; a number's sum runs in the same order whatever their number.
 */
#include "lanes.h"

#define ROWS 96 /* of hidden states, per task */

typedef struct {
  int64_t states, agents, actions, hidden, chosen; /* P, N, A, H, M */
  const float *x;                                  /* [P, N, H] */
  const int64_t *origins, *taken;                  /* [M] or null, [M, N] */
  const float *out, *bias;                         /* [A, H], [A] */
} Values;

INLINE int64_t state_of(const Values *v, int64_t m) { return v->origins ? v->origins[m] : m; }
INLINE int64_t padded_of(const Values *v) { return (v->actions + LANES - 1) / LANES * LANES; }

/* q[R, A] of all rows, and z[M, N]; either may be null. `room` has (H + 1) (A + 15) numbers. */
void values(const Values *v, float *room, float *q, float *z, int64_t threads) {
  const int64_t h = v->hidden, a = v->actions, n = v->agents, wide = padded_of(v);
  float *bias = room + h * wide;
  for (int64_t j = 0; q && j < wide; j++) {
    for (int64_t k = 0; k < h; k++) room[k * wide + j] = j < a ? v->out[j * h + k] : 0.0f;
    bias[j] = j < a ? v->bias[j] : 0.0f;
  }
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static) nowait
    for (int64_t from = 0; from < (q ? v->states * n : 0); from += ROWS) {
      const int64_t rows = lesser(ROWS, v->states * n - from);
      float scores[ROWS * wide];
      product(rows, wide, h, v->x + from * h, h, 1, room, wide, scores, wide, 0, bias);
      for (int64_t i = 0; i < rows; i++)
        memcpy(q + (from + i) * a, scores + i * wide, a * sizeof *q);
    }
#pragma omp for schedule(static)
    for (int64_t m = 0; m < (z ? v->chosen : 0); m++)
      for (int64_t i = 0; i < n; i++) {
        const float *x = v->x + (state_of(v, m) * n + i) * h;
        const int64_t action = v->taken[m * n + i];
        vec sum = every(0.0f);
        EACH(j, h) sum += GET(x + j) * GET(v->out + action * h + j);
        z[m * n + i] = total_of(sum) + v->bias[action];
      }
  }
}

/* Gradients of hidden states and weights, given that of z [M, N]. */
void values_backward(const Values *v, const float *grad, float *grad_x, float *grad_out,
                     float *grad_bias, int64_t threads) {
  const int64_t h = v->hidden, n = v->agents, parts = h / LANES;
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static) nowait
    for (int64_t m = 0; m < v->chosen; m++) {
      const int64_t state = state_of(v, m);
      /* States between two chosen ones, and before the first and after the last, have none. */
      const int64_t before = m ? state_of(v, m - 1) + 1 : 0;
      memset(grad_x + before * n * h, 0, (state - before) * n * h * sizeof *grad_x);
      for (int64_t i = 0; i < n; i++) {
        const float *out = v->out + v->taken[m * n + i] * h;
        EACH(j, h) AT(grad_x + (state * n + i) * h + j) = grad[m * n + i] * GET(out + j);
      }
    }
#pragma omp for schedule(static)
    for (int64_t part = 0; part <= parts; part++) {
      if (part == parts) {
        const int64_t end = v->chosen ? state_of(v, v->chosen - 1) + 1 : 0;
        memset(grad_x + end * n * h, 0, (v->states - end) * n * h * sizeof *grad_x);
        memset(grad_bias, 0, v->actions * sizeof *grad_bias);
        for (int64_t i = 0; i < v->chosen * n; i++) grad_bias[v->taken[i]] += grad[i];
        continue;
      }
      const int64_t j = part * LANES;
      for (int64_t a = 0; a < v->actions; a++) AT(grad_out + a * h + j) = every(0.0f);
      for (int64_t m = 0; m < v->chosen; m++)
        for (int64_t i = 0; i < n; i++)
          AT(grad_out + v->taken[m * n + i] * h + j) +=
              grad[m * n + i] * GET(v->x + (state_of(v, m) * n + i) * h + j);
    }
  }
}
