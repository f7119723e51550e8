/* What a layer makes of agents' inputs (nets/input_layers.py), forwards and backwards.
 *
 *     y = W [o; one-hot of the last action, zeros for none; one-hot of the agent] + b
 *
 * The one-hot parts are rows of the weight, so that nothing is put together and nothing multiplied by
 * zero. R rows, row r of agent r modulo N, O numbers of an observation, A actions, U units, a multiple
 * of 16. There are (A + 1) N sums of an action's part (none: number 0), an agent's, and the bias;
 * every row starts from one of them. Rows go to threads in blocks; a number's sum runs in the same
 * order whatever their number.
 */
#include "lanes.h"

#define ROWS 96  /* of the input, per task */
#define UNITS 16 /* numbers of an observation whose weights' gradients are one task */
#define PART 32  /* units of the sums' gradients that are one task; 16 may be left */

typedef struct {
  int64_t rows, agents, obs, actions, units; /* actions: 0 where the last one is no input */
  int64_t names_agents;                      /* whether the agent is an input */
  int64_t rectify;                           /* whether y is made non-negative */
  const float *x;                            /* [R, O] */
  const int64_t *last;                       /* [R] */
  const float *weight, *bias;                /* [U, I], [U] or null */
} Inputs;

INLINE int64_t starts_of(const Inputs *in) { return (in->actions + 1) * in->agents; }
INLINE int64_t width_of(const Inputs *in) {
  return in->obs + in->actions + (in->names_agents ? in->agents : 0);
}
INLINE int64_t start_of(const Inputs *in, int64_t row) {
  const int64_t last = in->last[row];
  const int64_t action = last >= 0 && last < in->actions ? last + 1 : 0;
  return action * in->agents + row % in->agents;
}

static void add_starts(const Inputs *in, const float *turned, float *starts) {
  const int64_t u = in->units, n = in->agents;
  const float *actions = turned + in->obs * u, *agents = actions + in->actions * u;
  for (int64_t a = 0; a <= in->actions; a++)
    for (int64_t i = 0; i < n; i++)
      EACH(j, u) {
        vec sum = in->bias ? GET(in->bias + j) : every(0.0f);
        if (a) sum += GET(actions + (a - 1) * u + j);
        if (in->names_agents) sum += GET(agents + i * u + j);
        AT(starts + (a * n + i) * u + j) = sum;
      }
}

/* y[R, U]. `room` has (I + (A + 1) N) U numbers. */
void look(const Inputs *in, float *room, float *y, int64_t threads) {
  const int64_t u = in->units, o = in->obs;
  float *starts = room + width_of(in) * u;
  turn(u, width_of(in), in->weight, room, u);
  add_starts(in, room, starts);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t from = 0; from < in->rows; from += ROWS) {
    const int64_t rows = lesser(ROWS, in->rows - from);
    float *out = y + from * u;
    for (int64_t i = 0; i < rows; i++)
      memcpy(out + i * u, starts + start_of(in, from + i) * u, u * sizeof *y);
    product(rows, u, o, in->x + from * o, o, 1, room, u, out, u, 1, 0);
    if (in->rectify) EACH(j, rows * u) AT(out + j) = rectified(GET(out + j));
  }
}

/* Gradients of weight and bias (or null), given y and its gradient; `open` is as y where that was
 * made non-negative, `room` as above. */
void look_backward(const Inputs *in, const float *y, const float *grad, float *open, float *room,
                   float *grad_weight, float *grad_bias, int64_t threads) {
  const int64_t u = in->units, o = in->obs, n = in->agents, width = width_of(in);
  const int64_t parts = (u + PART - 1) / PART, blocks = (o + UNITS - 1) / UNITS;
  const float *of = in->rectify ? open : grad;
  float *starts = room + width * u;
#pragma omp parallel num_threads(threads)
  {
    if (in->rectify) {
#pragma omp for schedule(static)
      for (int64_t r = 0; r < in->rows; r++)
        EACH(j, u)
          AT(open + r * u + j) =
              pick(GET(y + r * u + j) > 0.0f, GET(grad + r * u + j), every(0.0f));
    }
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < parts + blocks; task++) {
      if (task >= parts) {
        const int64_t k = (task - parts) * UNITS;
        over_rows(lesser(UNITS, o - k), u, in->rows, in->x + k, o, of, room + k * u, 0);
        continue;
      }
      const int64_t from = task * PART, to = lesser(from + PART, u);
      for (int64_t s = 0; s < starts_of(in); s++)
        memset(starts + s * u + from, 0, (to - from) * sizeof *starts);
      for (int64_t r = 0; r < in->rows; r++) {
        float *sum = starts + start_of(in, r) * u;
        for (int64_t j = from; j < to; j += LANES) AT(sum + j) += GET(of + r * u + j);
      }
      for (int64_t j = from; j < to; j += LANES) {
        vec all = every(0.0f);
        for (int64_t a = 0; a <= in->actions; a++) {
          vec sum = every(0.0f);
          for (int64_t i = 0; i < n; i++) sum += GET(starts + (a * n + i) * u + j);
          if (a) AT(room + (o + a - 1) * u + j) = sum;
          all += sum;
        }
        for (int64_t i = 0; in->names_agents && i < n; i++) {
          vec sum = every(0.0f);
          for (int64_t a = 0; a <= in->actions; a++) sum += GET(starts + (a * n + i) * u + j);
          AT(room + (o + in->actions + i) * u + j) = sum;
        }
        if (grad_bias) AT(grad_bias + j) = all;
      }
    }
#pragma omp for schedule(static)
    for (int64_t j = 0; j < u; j++)
      for (int64_t k = 0; k < width; k++) grad_weight[j * width + k] = room[k * u + j];
  }
}
